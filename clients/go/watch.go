package milepost

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	eventv1 "milepost/event/v1"
)

// Item is what a watch gives out: *eventv1.Event, *eventv1.CaughtUp, *eventv1.FellBehind, *eventv1.Heartbeat,
// *eventv1.Frame or, at last, *eventv1.Terminal.
type Item interface{ proto.Message }

// Watch follows a session's log from the event after request.AfterSeq: history, then live, until it ends.
//
// It gives out each event once and in order, and the marks of the stream between them, over any number of connections:
// after a break, or after silence, it asks again from where it stood. CaughtUp may come again then. The last item is
// Terminal. An error is the last thing the loop sees: a refusal, a server that stayed away for longer than
// Options.RetryFor, or the context's end. Leaving the loop ends the watch.
//
//	for item, err := range client.Watch(ctx, &eventv1.WatchEventsRequest{SessionId: id}) {
//		if err != nil { return err }
//		if event, is := item.(*eventv1.Event); is { … }
//	}
func (c *Client) Watch(ctx context.Context, request *eventv1.WatchEventsRequest) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		asked := proto.CloneOf(request)
		place := cursor{
			session: asked.SessionId, seq: asked.AfterSeq, filtered: len(asked.Kinds)+len(asked.Phases) > 0,
		}
		open := func(ctx context.Context) (receiver[eventv1.WatchEventsResponse], error) {
			asked.AfterSeq = place.seq
			return c.Events.WatchEvents(ctx, asked)
		}
		for message, err := range follow(ctx, c.options, open) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !place.give(message, yield) {
				return
			}
		}
	}
}

// WatchAll follows the logs of all sessions, or of those the request names, in the order in which they were stored. It
// never ends by itself; after a break it goes on behind the last message's Position. Errors as of Watch.
func (c *Client) WatchAll(
	ctx context.Context, request *eventv1.WatchAllEventsRequest,
) iter.Seq2[*eventv1.WatchAllEventsResponse, error] {
	return func(yield func(*eventv1.WatchAllEventsResponse, error) bool) {
		asked := proto.CloneOf(request)
		open := func(ctx context.Context) (receiver[eventv1.WatchAllEventsResponse], error) {
			return c.Events.WatchAllEvents(ctx, asked)
		}
		for message, err := range follow(ctx, c.options, open) {
			if !yield(message, err) || err != nil {
				return
			}
			asked.AfterPosition = message.Position
		}
	}
}

type receiver[T any] interface{ Recv() (*T, error) }

// follow gives out the messages of a stream and of those that open opens after it broke; it never ends by itself.
func follow[T any](
	ctx context.Context, options Options, open func(context.Context) (receiver[T], error),
) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		tries := newTries(options.RetryFor)
		for {
			var broken *Error
			for message, err := range messages(ctx, options.Silence, open) {
				if err != nil {
					broken = err
					break
				}
				if !yield(message, nil) {
					return
				}
				// From now on, not from when it came: a slow reader is no silent server.
				tries.succeeded()
			}
			if broken == nil {
				return
			}
			if broken.Code != codes.Unavailable {
				yield(nil, broken)
				return
			}
			if err := tries.wait(ctx, broken); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// messages gives out the messages of one stream, then why it ended.
func messages[T any](
	ctx context.Context, silence time.Duration, open func(context.Context) (receiver[T], error),
) iter.Seq2[*T, *Error] {
	return func(yield func(*T, *Error) bool) {
		inner, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		silent := unreachable("the server was silent for %s", silence)
		alarm := time.AfterFunc(silence, func() { cancel(silent) })
		defer alarm.Stop()
		stream, err := open(inner)
		for err == nil {
			var message *T
			alarm.Reset(silence)
			message, err = stream.Recv()
			alarm.Stop()
			if err == nil && !yield(message, nil) {
				return
			}
		}
		switch {
		case err == io.EOF:
			yield(nil, unreachable("the stream ended before its last message"))
		case ctx.Err() == nil && context.Cause(inner) == silent:
			yield(nil, silent)
		default:
			yield(nil, typed(ctx, err))
		}
	}
}

// cursor is where a watcher stands in a log: the seq of the last event given out or, when only some are watched, of the
// last one the server says it has passed. An event at or before it was given out on an earlier connection.
type cursor struct {
	session  string
	seq      int64
	filtered bool
}

// give gives out what is new in a message. It returns false when the watch is over.
func (c *cursor) give(message *eventv1.WatchEventsResponse, yield func(Item, error) bool) bool {
	var mark Item
	seen := c.seq
	switch message := message.Message.(type) {
	case *eventv1.WatchEventsResponse_Events:
		for _, event := range message.Events.Events {
			if event.Seq <= c.seq {
				continue
			}
			if err := c.reach(event.Seq, event.Seq-1); err != nil {
				yield(nil, err)
				return false
			}
			if !yield(event, nil) {
				return false
			}
		}
		return true
	case *eventv1.WatchEventsResponse_CaughtUp:
		mark, seen = message.CaughtUp, message.CaughtUp.Seq
	case *eventv1.WatchEventsResponse_FellBehind:
		mark = message.FellBehind
	case *eventv1.WatchEventsResponse_Heartbeat:
		mark, seen = message.Heartbeat, message.Heartbeat.SentSeq
	case *eventv1.WatchEventsResponse_Frame:
		mark = message.Frame
	case *eventv1.WatchEventsResponse_Terminal:
		if err := c.reach(message.Terminal.Seq, message.Terminal.Seq); err != nil {
			yield(nil, err)
		} else {
			yield(message.Terminal, nil)
		}
		return false
	default:
		// Hello repeats what was asked; a message of a later version is no business of this one.
		return true
	}
	if err := c.reach(seen, seen); err != nil {
		yield(nil, err)
		return false
	}
	return yield(mark, nil)
}

// reach moves the cursor to seq; the watcher must have been given the log up to seen.
func (c *cursor) reach(seq, seen int64) error {
	if !c.filtered && seen > c.seq {
		return &Error{
			Code: codes.DataLoss, Reason: LogGap,
			Message: fmt.Sprintf("log of %s: expected seq %d, got %d", c.session, c.seq+1, seq),
		}
	}
	c.seq = max(c.seq, seq)
	return nil
}
