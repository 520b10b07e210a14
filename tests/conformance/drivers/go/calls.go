package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"milepost"
	eventv1 "milepost/event/v1"
	scenariov1 "milepost/scenario/v1"
	sessionv1 "milepost/session/v1"
	studyv1 "milepost/study/v1"
)

type prepared func(context.Context) (proto.Message, error)

// callOf is the call that a request belongs to, ready to be made.
func callOf(client *milepost.Client, request proto.Message) prepared {
	sessions, scenarios, events := client.Sessions, client.Scenarios, client.Events
	switch request := request.(type) {
	case *sessionv1.CreateSessionRequest:
		return with(sessions.CreateSession, request)
	case *sessionv1.BatchCreateSessionsRequest:
		return with(sessions.BatchCreateSessions, request)
	case *sessionv1.CreateDemoSessionRequest:
		return with(sessions.CreateDemoSession, request)
	case *sessionv1.GetSessionRequest:
		return with(sessions.GetSession, request)
	case *sessionv1.ListSessionsRequest:
		return with(sessions.ListSessions, request)
	case *sessionv1.StartSessionRequest:
		return with(sessions.StartSession, request)
	case *sessionv1.CancelSessionRequest:
		return with(sessions.CancelSession, request)
	case *sessionv1.UpdateSessionRequest:
		return with(sessions.UpdateSession, request)
	case *sessionv1.SuspendSessionRequest:
		return with(sessions.SuspendSession, request)
	case *sessionv1.ResumeSessionRequest:
		return with(sessions.ResumeSession, request)
	case *sessionv1.RestartSessionRequest:
		return with(sessions.RestartSession, request)
	case *sessionv1.TerminateSessionRequest:
		return with(sessions.TerminateSession, request)
	case *sessionv1.CreateCheckpointRequest:
		return with(sessions.CreateCheckpoint, request)
	case *sessionv1.RollbackSessionRequest:
		return with(sessions.RollbackSession, request)
	case *sessionv1.ForkSessionRequest:
		return with(sessions.ForkSession, request)
	case *sessionv1.ApplyInterventionRequest:
		return with(sessions.ApplyIntervention, request)
	case *sessionv1.SetPaceRequest:
		return with(sessions.SetPace, request)
	case *sessionv1.StepSessionRequest:
		return with(sessions.StepSession, request)
	case *sessionv1.RunUntilRequest:
		return with(sessions.RunUntil, request)
	case *sessionv1.DeleteSessionRequest:
		return with(sessions.DeleteSession, request)
	case *sessionv1.UndeleteSessionRequest:
		return with(sessions.UndeleteSession, request)
	case *sessionv1.GetSessionStateRequest:
		return with(sessions.GetSessionState, request)
	case *sessionv1.ExplainSessionRequest:
		return with(sessions.ExplainSession, request)
	case *scenariov1.GetScenarioRequest:
		return with(scenarios.GetScenario, request)
	case *scenariov1.ListScenariosRequest:
		return with(scenarios.ListScenarios, request)
	case *scenariov1.CreateTemplateRequest:
		return with(client.Templates.CreateTemplate, request)
	case *studyv1.CreateStudyRequest:
		return with(client.Studies.CreateStudy, request)
	case *studyv1.GetRankingRequest:
		return with(client.Studies.GetRanking, request)
	case *studyv1.DeleteStudyRequest:
		return with(client.Studies.DeleteStudy, request)
	case *eventv1.ReadEventsRequest:
		return with(events.ReadEvents, request)
	case *eventv1.GetHeadRequest:
		return with(events.GetHead, request)
	case *eventv1.QueryMetricsRequest:
		return with(events.QueryMetrics, request)
	}
	panic(fmt.Sprintf("no call takes a %T", request))
}

func with[Q, A proto.Message](call func(context.Context, Q, ...grpc.CallOption) (A, error), request Q) prepared {
	return func(ctx context.Context) (proto.Message, error) { return call(ctx, request) }
}

func valueOf(message proto.Message) protoreflect.Value {
	return protoreflect.ValueOfMessage(message.ProtoReflect())
}
