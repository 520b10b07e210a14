package milepost;

import io.grpc.Context;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** How long to wait before the next try, and when to give up: some time after the start or the last success. */
final class Backoff {
    // First and longest wait between two tries; each is drawn at random from half to all of it.
    private static final long FIRST_NANOS = TimeUnit.MILLISECONDS.toNanos(100);
    private static final long LONGEST_NANOS = TimeUnit.SECONDS.toNanos(2);

    private final Duration retryFor;
    private long deadlineNanos;
    private long nextNanos;

    Backoff(Duration retryFor) {
        this.retryFor = retryFor;
        succeeded();
    }

    /** Starts over: the server is there. */
    void succeeded() {
        deadlineNanos = System.nanoTime() + retryFor.toNanos();
        nextNanos = FIRST_NANOS;
    }

    /** What is left of the time for tries; negative when it is over. */
    Duration remaining() {
        return Duration.ofNanos(deadlineNanos - System.nanoTime());
    }

    /** Waits before another try. Throws {@code error} when the time is over, or what ended the caller's context. */
    void await(MilepostException error) {
        long pauseNanos = Math.max(
                error.retryAfter().map(Duration::toNanos).orElse(0L),
                ThreadLocalRandom.current().nextLong(nextNanos / 2, nextNanos));
        nextNanos = Math.min(nextNanos * 2, LONGEST_NANOS);
        if (pauseNanos >= remaining().toNanos()) {
            throw error;
        }
        Context context = Context.current();
        CountDownLatch cancelled = new CountDownLatch(1);
        Context.CancellationListener listener = ended -> cancelled.countDown();
        context.addListener(listener, Runnable::run);
        try {
            if (cancelled.await(pauseNanos, TimeUnit.NANOSECONDS)) {
                throw MilepostException.from(error);
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw MilepostException.cancelled(interrupted);
        } finally {
            context.removeListener(listener);
        }
    }
}
