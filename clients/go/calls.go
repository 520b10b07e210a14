package milepost

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// First and longest wait between two tries; each is drawn at random from half to all of it.
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 2 * time.Second
	// What even the last try may take: a server that came back at the last moment still answers.
	lastTry = 5 * time.Second
)

// What calls that have to simulate or to add up may take when the caller sets no deadline.
var longCalls = map[string]time.Duration{
	"GetSessionState": time.Hour,
	"VerifySession":   time.Hour,
	"QueryMetrics":    5 * time.Minute,
}

// retrying makes a call again while the server is away or several writers met, until the context's deadline or, without
// one, until retryFor is over. That is safe for every call: reads change nothing, and everything else carries a
// request_id or is named by its content.
func retrying(retryFor time.Duration) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
		options ...grpc.CallOption,
	) error {
		request = withRequestID(request)
		tries := newTries(retryFor)
		for {
			err := once(ctx, method, tries.remaining(), func(ctx context.Context) error {
				return invoke(ctx, method, request, reply, conn, options...)
			})
			if err == nil {
				return nil
			}
			if err.Code != codes.Unavailable && (err.Code != codes.Aborted || err.Reason == "ETAG_MISMATCH") {
				return err
			}
			if err := tries.wait(ctx, err); err != nil {
				return err
			}
		}
	}
}

// once is one try, which takes no longer than the caller's deadline or, without one, than it may.
func once(ctx context.Context, method string, remaining time.Duration, call func(context.Context) error) *Error {
	if _, bounded := ctx.Deadline(); !bounded {
		limit := max(remaining, lastTry, longCalls[method[strings.LastIndexByte(method, '/')+1:]])
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = bounded
	}
	if err := call(ctx); err != nil {
		return typed(ctx, err)
	}
	return nil
}

// tries says how long to wait before the next try, and when to give up.
type tries struct {
	retryFor time.Duration
	until    time.Time
	next     time.Duration
}

func newTries(retryFor time.Duration) *tries {
	made := &tries{retryFor: retryFor}
	made.succeeded()
	return made
}

// succeeded starts over: the server is there.
func (t *tries) succeeded() {
	t.until, t.next = time.Now().Add(t.retryFor), firstBackoff
}

func (t *tries) remaining() time.Duration {
	return time.Until(t.until)
}

// wait waits before another try. It returns err when the time is over, and the context's own error when that ended.
func (t *tries) wait(ctx context.Context, err *Error) error {
	pause := max(err.RetryAfter, t.next/2+mathrand.N(t.next/2))
	t.next = min(2*t.next, longestBackoff)
	if _, bounded := ctx.Deadline(); !bounded && pause >= t.remaining() {
		return err
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return typed(ctx, ctx.Err())
	}
}

// withRequestID is the request with a request_id, where it has such a field and the caller left it empty. The caller's
// own message stays as it is: sent again, it is another wish.
func withRequestID(request any) any {
	message, is := request.(proto.Message)
	if !is {
		return request
	}
	field := message.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if field == nil || field.Kind() != protoreflect.StringKind || message.ProtoReflect().Get(field).String() != "" {
		return request
	}
	copied := proto.Clone(message)
	copied.ProtoReflect().Set(field, protoreflect.ValueOfString(newUUID()))
	return copied
}

// newUUID is a random UUID, of version 4.
func newUUID() string {
	var bits [16]byte
	_, _ = rand.Read(bits[:])
	bits[6], bits[8] = bits[6]&0x0f|0x40, bits[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", bits[:4], bits[4:6], bits[6:8], bits[8:10], bits[10:])
}

// typedStream gives streams typed errors; trying again is the business of who knows where the stream stood.
func typedStream(
	ctx context.Context, about *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer,
	options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, about, conn, method, options...)
	if err != nil {
		return nil, typed(ctx, err)
	}
	return &typedClientStream{stream, ctx}, nil
}

type typedClientStream struct {
	grpc.ClientStream
	// The caller's: the stream's own has ended when the stream has.
	caller context.Context
}

func (s *typedClientStream) RecvMsg(message any) error {
	return s.typed(s.ClientStream.RecvMsg(message))
}

func (s *typedClientStream) SendMsg(message any) error {
	return s.typed(s.ClientStream.SendMsg(message))
}

func (s *typedClientStream) typed(err error) error {
	// The end of a stream is no failure, and the failure of a send is told by the next receive.
	if err == nil || err == io.EOF {
		return err
	}
	return typed(s.caller, err)
}
