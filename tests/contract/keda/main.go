// Command keda asks an external scaler the way KEDA's operator does, over the stubs KEDA publishes.
//
//	keda ADDRESS key=value...
//
// The pairs are the scalerMetadata of a ScaledObject's trigger. A stream of IsActive is kept open and opened anew when
// it ends, as KEDA's push scaler does; each line on standard input is one round of polling: GetMetrics, then IsActive.
// What comes of it is written to standard output, one JSON object a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kedacore/keda/v2/pkg/scalers/externalscaler"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
)

// KEDA waits 2 s before it opens a stream again that has ended, and doubles that after each error.
const reopenAfter = 2 * time.Second

const longestWait = time.Minute

// Of KEDA's own connections.
const serviceConfig = `{"loadBalancingConfig": [{"round_robin":{}}]}`

// How long one round of polling may take; KEDA's own default is 3 s.
const pollTimeout = 10 * time.Second

type line struct {
	Contract []byte   `json:"contract,omitempty"`
	Metric   string   `json:"metric,omitempty"`
	Target   float64  `json:"target,omitempty"`
	Value    *float64 `json:"value,omitempty"`
	Active   *bool    `json:"active,omitempty"`
	Pushed   *bool    `json:"pushed,omitempty"`
	Ended    string   `json:"ended,omitempty"`
	Error    string   `json:"error,omitempty"`
}

var writing sync.Mutex

func say(what line) {
	writing.Lock()
	defer writing.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(what); err != nil {
		os.Exit(1)
	}
}

func main() {
	connection, err := grpc.NewClient(
		os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
	)
	if err != nil {
		panic(err)
	}
	metadata := map[string]string{}
	for _, pair := range os.Args[2:] {
		key, value, _ := strings.Cut(pair, "=")
		metadata[key] = value
	}
	contract, err := proto.Marshal(protodesc.ToFileDescriptorProto(externalscaler.File_externalscaler_proto))
	if err != nil {
		panic(err)
	}
	say(line{Contract: contract})

	scaler := externalscaler.NewExternalScalerClient(connection)
	object := &externalscaler.ScaledObjectRef{Name: "workers", Namespace: "milepost", ScalerMetadata: metadata}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	spec, err := scaler.GetMetricSpec(ctx, object)
	if err != nil {
		say(line{Error: status.Code(err).String()})
		return
	}
	metric := spec.MetricSpecs[0]
	say(line{Metric: metric.MetricName, Target: metric.TargetSizeFloat})
	go listen(ctx, scaler, object)
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		say(poll(ctx, scaler, object, metric.MetricName))
	}
}

func poll(
	ctx context.Context, scaler externalscaler.ExternalScalerClient, object *externalscaler.ScaledObjectRef, metric string,
) line {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	metrics, err := scaler.GetMetrics(ctx, &externalscaler.GetMetricsRequest{ScaledObjectRef: object, MetricName: metric})
	if err != nil {
		return line{Error: status.Code(err).String()}
	}
	// As KEDA reads it: the integer counts where the other is not above 0.
	value := float64(metrics.MetricValues[0].MetricValue)
	if float := metrics.MetricValues[0].MetricValueFloat; float > 0 {
		value = float
	}
	active, err := scaler.IsActive(ctx, object)
	if err != nil {
		return line{Error: status.Code(err).String()}
	}
	return line{Metric: metrics.MetricValues[0].MetricName, Value: &value, Active: &active.Result}
}

func listen(ctx context.Context, scaler externalscaler.ExternalScalerClient, object *externalscaler.ScaledObjectRef) {
	wait := reopenAfter
	for ctx.Err() == nil {
		err := hear(ctx, scaler, object)
		ended := "OK"
		if errors.Is(err, io.EOF) {
			wait = reopenAfter
		} else {
			ended = status.Code(err).String()
		}
		say(line{Ended: ended})
		time.Sleep(wait)
		wait = min(2*wait, longestWait)
	}
}

func hear(
	ctx context.Context, scaler externalscaler.ExternalScalerClient, object *externalscaler.ScaledObjectRef,
) error {
	stream, err := scaler.StreamIsActive(ctx, object)
	if err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		say(line{Pushed: &answer.Result})
	}
}
