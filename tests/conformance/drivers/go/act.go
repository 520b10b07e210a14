package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "conformance/build/conformancev1"
	"milepost"
	eventv1 "milepost/event/v1"
	studyv1 "milepost/study/v1"
)

func cancelledAfter(ctx context.Context, after *durationpb.Duration) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(after.AsDuration(), cancel)
	return ctx
}

// client is the one for a target; what the target leaves open is as the environment says.
func (d *driver) client(target *pb.Target) (*milepost.Client, error) {
	key := target.String()
	if known, is := d.clients[key]; is {
		return known, nil
	}
	options := milepost.FromEnvironment()
	if target != nil && target.Server != nil {
		options.Server, options.EventStore = *target.Server, ""
	}
	if target != nil && target.EventStore != nil {
		options.EventStore = *target.EventStore
	}
	if target != nil && target.Token != nil {
		options.Token = *target.Token
	}
	if pem := target.GetTlsCaPem(); pem != nil {
		options.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		options.TLS.RootCAs.AppendCertsFromPEM(pem)
	}
	client, err := milepost.Connect(options)
	if err == nil {
		d.clients[key] = client
	}
	return client, err
}

// act does a step with the client.
func act(ctx context.Context, client *milepost.Client, step *pb.Step, outcome *pb.Outcome) error {
	switch action := step.Action.(type) {
	case *pb.Step_CreateAndWait:
		session, err := client.CreateAndWait(ctx, action.CreateAndWait)
		outcome.Result = &pb.Outcome_CreateAndWait{CreateAndWait: session}
		return err
	case *pb.Step_UploadScenario:
		scenario, err := client.UploadScenario(ctx, action.UploadScenario.Path, action.UploadScenario.DisplayName)
		outcome.Result = &pb.Outcome_UploadScenario{UploadScenario: scenario}
		return err
	case *pb.Step_Watch:
		outcome.Result = &pb.Outcome_Watch{Watch: watch(ctx, client, action.Watch)}
		return nil
	case *pb.Step_WatchAll:
		seen, err := watchAll(ctx, client, action.WatchAll)
		outcome.Result = &pb.Outcome_WatchAll{WatchAll: seen}
		return err
	case *pb.Step_WatchStudy:
		last, err := watchStudy(ctx, client, action.WatchStudy)
		outcome.Result = &pb.Outcome_WatchStudy{WatchStudy: last}
		return err
	case *pb.Step_Decode:
		decoded, err := decode(action.Decode)
		outcome.Result = &pb.Outcome_Decode{Decode: decoded}
		return err
	}
	return call(ctx, client, step, outcome)
}

// call is one of the services' own calls: Step and Outcome name it with the same field.
func call(ctx context.Context, client *milepost.Client, step *pb.Step, outcome *pb.Outcome) error {
	reflected := step.ProtoReflect()
	field := reflected.WhichOneof(reflected.Descriptor().Oneofs().ByName("action"))
	request := reflected.Get(field).Message().Interface()
	answer, err := callOf(client, request)(ctx)
	if err != nil {
		return err
	}
	result := outcome.ProtoReflect()
	named := result.Descriptor().Fields().ByName(field.Name())
	result.Set(named, valueOf(answer))
	return nil
}

func watch(ctx context.Context, client *milepost.Client, wish *pb.Watch) *pb.Watched {
	seen := &pb.Watched{}
	for item, err := range client.Watch(ctx, wish.Request) {
		if err != nil {
			seen.Error = typed(err)
			return seen
		}
		switch item := item.(type) {
		case *eventv1.Event:
			seen.Seqs = append(seen.Seqs, item.Seq)
			seen.Kinds = append(seen.Kinds, kind(item))
			if wish.ReportEvents {
				seen.Events = append(seen.Events, item)
			}
			time.Sleep(wish.PausePerEvent.AsDuration())
			if int64(len(seen.Seqs)) == wish.PauseAfterEvents {
				time.Sleep(wish.Pause.AsDuration())
			}
			if int64(len(seen.Seqs)) == wish.StopAfterEvents {
				return seen
			}
		case *eventv1.CaughtUp:
			seen.CaughtUp++
			if wish.StopWhenCaughtUp {
				return seen
			}
		case *eventv1.FellBehind:
			seen.FellBehind++
		case *eventv1.Heartbeat:
			seen.Heartbeats++
		case *eventv1.Frame:
			seen.Frames++
		case *eventv1.Terminal:
			seen.Terminal = item
		}
	}
	return seen
}

func kind(event *eventv1.Event) int32 {
	reflected := event.ProtoReflect()
	if payload := reflected.WhichOneof(reflected.Descriptor().Oneofs().ByName("payload")); payload != nil {
		return int32(payload.Number())
	}
	return 0
}

func watchAll(ctx context.Context, client *milepost.Client, wish *pb.WatchAll) (*pb.WatchedAll, error) {
	seen := &pb.WatchedAll{}
	for message, err := range client.WatchAll(ctx, wish.Request) {
		if err != nil {
			return nil, err
		}
		seen.Events += int64(len(message.Events))
		seen.Position = proto.CloneOf(message.Position)
		if message.CaughtUp {
			break
		}
	}
	return seen, nil
}

// watchStudy is the last message of a study's watch.
func watchStudy(
	ctx context.Context, client *milepost.Client, request *studyv1.WatchStudyRequest,
) (*studyv1.WatchStudyResponse, error) {
	stream, err := client.Studies.WatchStudy(ctx, request)
	if err != nil {
		return nil, err
	}
	var last *studyv1.WatchStudyResponse
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		last = message
	}
}
