package milepost;

import java.util.Queue;
import milepost.event.v1.Event;
import milepost.event.v1.WatchEventsResponse;

/**
 * Where a watcher stands in a session's log, over any number of connections.
 *
 * <p>The cursor is the {@code seq} of the last event given out or, when only some kinds are watched, of the last one
 * the server says it has passed. An event at or before it was given out on an earlier connection.
 */
final class WatchCursor {
    private final String sessionId;
    private final boolean filtered;
    private long seq;

    WatchCursor(String sessionId, long afterSeq, boolean filtered) {
        this.sessionId = sessionId;
        this.seq = afterSeq;
        this.filtered = filtered;
    }

    /** Where to ask again after a break. */
    long seq() {
        return seq;
    }

    /**
     * Adds to {@code items} what a message gives its reader, without what was given before. Throws LOG_GAP when the log
     * is watched whole and an event is missing.
     */
    void take(WatchEventsResponse message, Queue<WatchItem> items) {
        switch (message.getMessageCase()) {
            case EVENTS -> {
                for (Event event : message.getEvents().getEventsList()) {
                    if (event.getSeq() > seq) {
                        reach(event.getSeq(), event.getSeq() - 1);
                        items.add(new WatchItem.Logged(event));
                    }
                }
            }
            case CAUGHT_UP -> {
                reach(message.getCaughtUp().getSeq(), message.getCaughtUp().getSeq());
                items.add(new WatchItem.Live(message.getCaughtUp()));
            }
            case FELL_BEHIND -> items.add(new WatchItem.Behind(message.getFellBehind()));
            case HEARTBEAT -> {
                reach(message.getHeartbeat().getSentSeq(), message.getHeartbeat().getSentSeq());
                items.add(new WatchItem.Alive(message.getHeartbeat()));
            }
            case FRAME -> items.add(new WatchItem.Positions(message.getFrame()));
            case TERMINAL -> {
                reach(message.getTerminal().getSeq(), message.getTerminal().getSeq());
                items.add(new WatchItem.Ended(message.getTerminal()));
            }
            // Hello repeats what was asked; a message of a later version is no business of this one.
            case HELLO, MESSAGE_NOT_SET -> {}
        }
    }

    /** The log up to {@code to} is behind this watcher, who must have been given it up to {@code seen}. */
    private void reach(long to, long seen) {
        if (!filtered && seen > seq) {
            throw MilepostException.logGap(sessionId, seq + 1, to);
        }
        seq = Math.max(seq, to);
    }
}
