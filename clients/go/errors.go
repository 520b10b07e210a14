package milepost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	errorsv1 "milepost/errors/v1"
)

// Unreachable is the Reason of an error that no server of Milepost sent: the connection failed.
const Unreachable = "UNREACHABLE"

// LogGap is the Reason of a watched log that had a hole; never expected.
const LogGap = "LOG_GAP"

// ScenarioFiles is the Reason of local files that make no scenario.
const ScenarioFiles = "SCENARIO_FILES"

// Error is a call that failed for good. Every error of this package is one, or wraps one:
//
//	var failed *milepost.Error
//	if errors.As(err, &failed) && failed.Reason == "INVALID_TRANSITION" { … failed.Metadata["legal_verbs"] … }
//	if milepost.HasReason(err, errorsv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND) { … }
type Error struct {
	// Code is the status of the call.
	Code codes.Code
	// Reason is the name of a value of errorsv1.ErrorReason without its prefix where the server sent one (it does with
	// every refusal), else Unreachable or the name of the status: DEADLINE_EXCEEDED, CANCELLED.
	Reason string
	// Domain is "milepost" where the server sent a reason.
	Domain string
	// Metadata is what belongs to the reason; the contract of errors names its keys.
	Metadata map[string]string
	// Message is one sentence for humans.
	Message string
	// Violations are the fields, or the files and lines of a scenario, that are wrong.
	Violations []Violation
	// RetryAfter is how long the server asked to wait before another try; 0: it did not say.
	RetryAfter time.Duration

	status *status.Status
}

// Violation is one field of a request, or one file (`path:line`) of a scenario, and what is wrong with it.
type Violation struct {
	Field       string
	Description string
}

// Error is the reason and the sentence.
func (e *Error) Error() string {
	return e.Reason + ": " + e.Message
}

// GRPCStatus is the status as it came, with all details; status.FromError finds it.
func (e *Error) GRPCStatus() *status.Status {
	if e.status == nil {
		return status.New(e.Code, e.Message)
	}
	return e.status
}

// Is makes errors.Is(err, context.DeadlineExceeded) and errors.Is(err, context.Canceled) true where they apply.
func (e *Error) Is(target error) bool {
	return (target == context.DeadlineExceeded && e.Code == codes.DeadlineExceeded) ||
		(target == context.Canceled && e.Code == codes.Canceled)
}

// HasReason tells whether an error is, or wraps, a refusal for this reason.
func HasReason(err error, reason errorsv1.ErrorReason) bool {
	var typed *Error
	return errors.As(err, &typed) && "ERROR_REASON_"+typed.Reason == reason.String()
}

// typed is the failure of a call as an *Error. That of its own context stays what it is, whoever noticed first.
func typed(ctx context.Context, err error) *Error {
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	from := status.Convert(err)
	if own := ctx.Err(); own != nil && len(from.Details()) == 0 {
		from = status.FromContextError(own)
	}
	made := &Error{Code: from.Code(), Reason: name(from.Code()), Message: from.Message(), status: from}
	refused := false
	for _, detail := range from.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			made.Reason, made.Domain, made.Metadata, refused = detail.Reason, detail.Domain, detail.Metadata, true
		case *errdetails.BadRequest:
			for _, field := range detail.FieldViolations {
				made.Violations = append(made.Violations, Violation{field.Field, field.Description})
			}
		case *errdetails.RetryInfo:
			made.RetryAfter = detail.RetryDelay.AsDuration()
		}
	}
	// The servers send ErrorInfo with every refusal: what has none was made by the transport.
	if !refused && ctx.Err() == nil {
		switch made.Code {
		case codes.Unavailable, codes.Canceled, codes.Internal, codes.Unknown:
			made.Code, made.Reason, made.status = codes.Unavailable, Unreachable, nil
		}
	}
	return made
}

func unreachable(format string, about ...any) *Error {
	return &Error{Code: codes.Unavailable, Reason: Unreachable, Message: fmt.Sprintf(format, about...)}
}

// name is a status as the contracts spell it: DEADLINE_EXCEEDED.
func name(code codes.Code) string {
	var spelled strings.Builder
	for place, letter := range code.String() {
		if place > 0 && letter >= 'A' && letter <= 'Z' {
			spelled.WriteByte('_')
		}
		spelled.WriteRune(letter)
	}
	if code == codes.Canceled {
		return "CANCELLED"
	}
	return strings.ToUpper(spelled.String())
}
