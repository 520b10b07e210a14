package milepost

import (
	"context"

	eventv1 "milepost/event/v1"
	sessionv1 "milepost/session/v1"
)

// Events after which a session may be in another state than before.
var turns = []eventv1.EventKind{
	eventv1.EventKind_EVENT_KIND_RUN_OPENED,
	eventv1.EventKind_EVENT_KIND_SESSION_COMPLETED,
	eventv1.EventKind_EVENT_KIND_SESSION_FAILED,
	eventv1.EventKind_EVENT_KIND_SESSION_CANCELLED,
}

// CreateAndWait creates a session and waits for its end. Errors: those of CreateSession and of Wait.
func (c *Client) CreateAndWait(
	ctx context.Context, request *sessionv1.CreateSessionRequest,
) (*sessionv1.Session, error) {
	created, err := c.Sessions.CreateSession(ctx, request)
	if err != nil {
		return nil, err
	}
	return c.Wait(ctx, created.Session.SessionId)
}

// Wait waits for a session's end, however long and however often it is suspended, and returns it in the FULL view; look
// at its State and Failure. Bound it with the context: a session that nobody resumes does not end.
func (c *Client) Wait(ctx context.Context, sessionID string) (*sessionv1.Session, error) {
	session, err := c.full(ctx, sessionID, 0)
	for err == nil && !Ended(session) {
		var last int64
		last, err = c.nextEnd(ctx, session)
		if err == nil {
			session, err = c.full(ctx, sessionID, last)
		}
	}
	if err != nil {
		return nil, err
	}
	return session, nil
}

// Ended tells whether a session is COMPLETED, FAILED or CANCELLED.
func Ended(session *sessionv1.Session) bool {
	switch session.State {
	case sessionv1.SessionState_SESSION_STATE_COMPLETED, sessionv1.SessionState_SESSION_STATE_FAILED,
		sessionv1.SessionState_SESSION_STATE_CANCELLED:
		return true
	}
	return false
}

// nextEnd waits for the end of a session's log, as it is after what the session tells of; its seq.
func (c *Client) nextEnd(ctx context.Context, session *sessionv1.Session) (int64, error) {
	request := &eventv1.WatchEventsRequest{SessionId: session.SessionId, AfterSeq: session.Seq, Kinds: turns}
	for item, err := range c.Watch(ctx, request) {
		if err != nil {
			return 0, err
		}
		if end, is := item.(*eventv1.Terminal); is {
			return end.Seq, nil
		}
	}
	return session.Seq, nil
}

func (c *Client) full(ctx context.Context, sessionID string, minSeq int64) (*sessionv1.Session, error) {
	found, err := c.Sessions.GetSession(ctx, &sessionv1.GetSessionRequest{
		SessionId: sessionID, View: sessionv1.SessionView_SESSION_VIEW_FULL, MinSeq: minSeq,
	})
	return found.GetSession(), err
}
