package milepost;

import milepost.event.v1.CaughtUp;
import milepost.event.v1.Event;
import milepost.event.v1.FellBehind;
import milepost.event.v1.Frame;
import milepost.event.v1.Heartbeat;
import milepost.event.v1.Terminal;

/** What a watch gives out. The last item is {@link Ended}. */
public sealed interface WatchItem {
    /**
     * An event of the log. Each is given out once, in order.
     *
     * @param event the event
     */
    record Logged(Event event) implements WatchItem {}

    /**
     * Everything stored so far was given out; what follows is live. May come again after a broken connection.
     *
     * @param mark up to where
     */
    record Live(CaughtUp mark) implements WatchItem {}

    /**
     * This watcher was too slow for live and is served from history again; nothing is skipped.
     *
     * @param mark up to where
     */
    record Behind(FellBehind mark) implements WatchItem {}

    /**
     * Nothing is lost, however quiet it is.
     *
     * @param mark how far the log is
     */
    record Alive(Heartbeat mark) implements WatchItem {}

    /**
     * Vehicle positions, where they were asked for. Lossy on purpose.
     *
     * @param frame the positions
     */
    record Positions(Frame frame) implements WatchItem {}

    /**
     * The session has ended and its whole log was given out.
     *
     * @param mark with which event
     */
    record Ended(Terminal mark) implements WatchItem {}
}
