// The driver of the Go client; conformance.proto says what a driver is.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"os"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "conformance/build/conformancev1"
	"milepost"
)

func main() {
	input, output := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	driver := &driver{clients: map[string]*milepost.Client{}}
	for {
		step := &pb.Step{}
		switch err := read(input, step); {
		case err == io.EOF:
			return
		case err != nil:
			log.Fatal(err)
		}
		if err := errors.Join(write(output, driver.do(step)), output.Flush()); err != nil {
			log.Fatal(err)
		}
	}
}

func read(input io.Reader, message proto.Message) error {
	var size uint32
	if err := binary.Read(input, binary.BigEndian, &size); err != nil {
		return err
	}
	encoded := make([]byte, size)
	if _, err := io.ReadFull(input, encoded); err != nil {
		return err
	}
	return proto.Unmarshal(encoded, message)
}

func write(output io.Writer, message proto.Message) error {
	encoded, err := proto.Marshal(message)
	return errors.Join(err, binary.Write(output, binary.BigEndian, uint32(len(encoded))), last(output.Write(encoded)))
}

func last(_ int, err error) error { return err }

// driver executes steps; it keeps a client for each target.
type driver struct{ clients map[string]*milepost.Client }

func (d *driver) do(step *pb.Step) *pb.Outcome {
	outcome := &pb.Outcome{StepId: step.StepId}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	options := step.Options
	if options.GetDeadline() != nil {
		bounded, cancel := context.WithTimeout(ctx, options.Deadline.AsDuration())
		defer cancel()
		ctx = bounded
	}
	if options.GetCancelAfter() != nil {
		ctx = cancelledAfter(ctx, options.CancelAfter)
	}
	for key, value := range options.GetMetadata() {
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	client, err := d.client(options.GetTarget())
	if err == nil {
		err = act(ctx, client, step, outcome)
	}
	if err != nil {
		outcome.Result = &pb.Outcome_Error{Error: typed(err)}
	}
	return outcome
}

// typed is the client's error as the runner reads it.
func typed(err error) *pb.Error {
	var failed *milepost.Error
	if !errors.As(err, &failed) {
		return &pb.Error{Code: int32(codes.Unknown), Reason: "NOT_TYPED", Message: err.Error()}
	}
	said := &pb.Error{
		Code: int32(failed.Code), Reason: failed.Reason, Domain: failed.Domain, Metadata: failed.Metadata,
		Message: failed.Message,
	}
	for _, violation := range failed.Violations {
		said.FieldViolations = append(said.FieldViolations, &pb.FieldViolation{
			Field: violation.Field, Description: violation.Description,
		})
	}
	if failed.RetryAfter != 0 {
		said.RetryDelay = durationpb.New(failed.RetryAfter)
	}
	return said
}
