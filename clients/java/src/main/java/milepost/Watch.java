package milepost;

import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import milepost.event.v1.WatchEventsRequest;
import milepost.event.v1.WatchEventsResponse;

/**
 * A session's log as it grows: one iterator over any number of connections.
 *
 * <p>After a break, a silence or a restart of the server it asks again from the last event it gave out, so its reader
 * sees every event once and in order. It ends after {@link WatchItem.Ended}. {@link #hasNext} waits for the next item
 * and throws {@link MilepostException}: the refusal of a server, or the last break once nothing was heard for
 * {@code retryFor}. For one thread, except {@link #close}, which any may call. Cancel its
 * {@link io.grpc.Context} to end it from elsewhere with CANCELLED.
 */
public final class Watch implements Iterator<WatchItem>, Iterable<WatchItem>, AutoCloseable {
    private final WatchEventsRequest request;
    private final Function<WatchEventsRequest, BlockingClientCall<?, WatchEventsResponse>> connect;
    private final WatchCursor cursor;
    private final Backoff backoff;
    private final Duration silence;
    private final Queue<WatchItem> items = new ArrayDeque<>();
    private volatile BlockingClientCall<?, WatchEventsResponse> call;
    private volatile boolean closed;
    private boolean ended;
    private int connections;

    Watch(
            WatchEventsRequest request,
            Function<WatchEventsRequest, BlockingClientCall<?, WatchEventsResponse>> connect,
            ConnectOptions options) {
        this.request = request;
        this.connect = connect;
        boolean filtered = request.getKindsCount() > 0 || request.getPhasesCount() > 0;
        this.cursor = new WatchCursor(request.getSessionId(), request.getAfterSeq(), filtered);
        this.backoff = new Backoff(options.retryFor());
        this.silence = options.silence();
    }

    /** This watch: it can be gone through once. */
    @Override
    public Iterator<WatchItem> iterator() {
        return this;
    }

    /** Waits for the next item; false after the last, or when the watch was closed. */
    @Override
    public boolean hasNext() {
        while (items.isEmpty() && !ended && !closed) {
            receive();
        }
        return !items.isEmpty() && !closed;
    }

    /** The next item; waits for it. */
    @Override
    public WatchItem next() {
        if (!hasNext()) {
            throw new NoSuchElementException("the watch has ended");
        }
        WatchItem item = items.remove();
        // From now on, not from when it came: a slow reader is no silent server.
        backoff.succeeded();
        return item;
    }

    /** How often it has connected anew. */
    public int reconnects() {
        return Math.max(0, connections - 1);
    }

    /** Ends the watch; whoever waits in it gets nothing more. */
    @Override
    public void close() {
        closed = true;
        hangUp("closed by its reader");
    }

    /** Takes one message in, or mends the connection. */
    private void receive() {
        MilepostException broken;
        try {
            WatchEventsResponse message = connected().read(silence.toNanos(), TimeUnit.NANOSECONDS);
            if (message != null) {
                take(message);
                return;
            }
            broken = MilepostException.unreachable("the stream ended before its last message", null);
        } catch (TimeoutException silent) {
            broken = MilepostException.unreachable("nothing was heard for " + silence.toSeconds() + " s", silent);
        } catch (StatusException status) {
            broken = MilepostException.from(status);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            close();
            return;
        }
        hangUp("connecting anew");
        if (closed) {
            return;
        }
        if (broken.code() != io.grpc.Status.Code.UNAVAILABLE) {
            ended = true;
            throw broken;
        }
        backoff.await(broken);
    }

    private BlockingClientCall<?, WatchEventsResponse> connected() {
        BlockingClientCall<?, WatchEventsResponse> open = call;
        if (open == null) {
            connections++;
            open = connect.apply(request.toBuilder().setAfterSeq(cursor.seq()).build());
            call = open;
            if (closed) {
                hangUp("closed by its reader");
            }
        }
        return open;
    }

    private void take(WatchEventsResponse message) {
        backoff.succeeded();
        try {
            cursor.take(message, items);
            ended = message.hasTerminal();
        } catch (MilepostException gap) {
            ended = true;
            hangUp("an event is missing");
            throw gap;
        }
    }

    private void hangUp(String why) {
        BlockingClientCall<?, WatchEventsResponse> open = call;
        call = null;
        if (open != null) {
            open.cancel(why, null);
        }
    }
}
