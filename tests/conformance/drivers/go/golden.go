package main

import (
	"encoding/hex"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "conformance/build/conformancev1"
	eventv1 "milepost/event/v1"
	sessionv1 "milepost/session/v1"
)

var vectors = map[string]func() proto.Message{
	"milepost.conformance.v1.Golden":           func() proto.Message { return &pb.Golden{} },
	"milepost.event.v1.Event":                  func() proto.Message { return &eventv1.Event{} },
	"milepost.event.v1.WatchEventsResponse":    func() proto.Message { return &eventv1.WatchEventsResponse{} },
	"milepost.session.v1.Session":              func() proto.Message { return &sessionv1.Session{} },
	"milepost.session.v1.CreateSessionRequest": func() proto.Message { return &sessionv1.CreateSessionRequest{} },
}

// decode reads a message and writes it again.
func decode(wish *pb.Decode) (*pb.Decoded, error) {
	message := vectors[wish.MessageType]()
	var err error
	if form, is := wish.Form.(*pb.Decode_Json); is {
		err = protojson.Unmarshal([]byte(form.Json), message)
	} else {
		err = proto.Unmarshal(wish.GetEncoded(), message)
	}
	if err != nil {
		return nil, err
	}
	decoded := &pb.Decoded{Json: protojson.MarshalOptions{UseProtoNames: true}.Format(message)}
	if golden, is := message.(*pb.Golden); is {
		decoded.Values = values(golden)
	}
	decoded.Encoded, err = proto.Marshal(message)
	return decoded, err
}

// values are a Golden's, read field by field, as conformance.proto wants them told.
func values(golden *pb.Golden) map[string]string {
	told := map[string]string{}
	tell := func(name, value, empty string) {
		if value != empty {
			told[name] = value
		}
	}
	tell("int32_value", decimal(golden.Int32Value), "0")
	tell("int64_value", decimal(golden.Int64Value), "0")
	tell("uint32_value", decimal(golden.Uint32Value), "0")
	tell("uint64_value", decimal(golden.Uint64Value), "0")
	tell("sint32_value", decimal(golden.Sint32Value), "0")
	tell("sint64_value", decimal(golden.Sint64Value), "0")
	tell("fixed32_value", decimal(golden.Fixed32Value), "0")
	tell("fixed64_value", decimal(golden.Fixed64Value), "0")
	tell("sfixed64_value", decimal(golden.Sfixed64Value), "0")
	tell("float_value", fmt.Sprintf("%08x", math.Float32bits(golden.FloatValue)), "00000000")
	tell("double_value", bits(golden.DoubleValue), bits(0))
	tell("bool_value", strconv.FormatBool(golden.BoolValue), "false")
	tell("string_value", words(golden.StringValue), "")
	tell("bytes_value", hex.EncodeToString(golden.BytesValue), "")
	tell("enum_value", decimal(int32(golden.EnumValue)), "0")
	if golden.PresentInt64 != nil {
		told["present_int64"] = decimal(*golden.PresentInt64)
	}
	tellList(told, "int64_list", golden.Int64List, decimal[int64])
	tellList(told, "double_list", golden.DoubleList, bits)
	tellList(told, "string_list", golden.StringList, words)
	tellMap(told, "int64_by_string", golden.Int64ByString, words, decimal[int64])
	tellMap(told, "string_by_uint64", golden.StringByUint64, decimal[uint64], words)
	switch choice := golden.Choice.(type) {
	case *pb.Golden_TextChoice:
		told["choice"], told["text_choice"] = "text_choice", words(choice.TextChoice)
	case *pb.Golden_Int64Choice:
		told["choice"], told["int64_choice"] = "int64_choice", decimal(choice.Int64Choice)
	case *pb.Golden_EventChoice:
		told["choice"] = "event_choice"
	}
	if at := golden.TimestampValue; at != nil {
		told["timestamp_value"] = secondsOfTimestamp(at)
	}
	if long := golden.DurationValue; long != nil {
		told["duration_value"] = secondsOfDuration(long)
	}
	return told
}

func tellList[T any](told map[string]string, name string, list []T, text func(T) string) {
	if len(list) == 0 {
		return
	}
	texts := make([]string, len(list))
	for place, value := range list {
		texts[place] = text(value)
	}
	told[name] = strings.Join(texts, ",")
}

func tellMap[K comparable, V any](told map[string]string, name string, pairs map[K]V, key func(K) string, value func(V) string) {
	if len(pairs) == 0 {
		return
	}
	var texts []string
	for k, v := range pairs {
		texts = append(texts, key(k)+"="+value(v))
	}
	sort.Strings(texts)
	told[name] = strings.Join(texts, ",")
}

func decimal[T int32 | int64 | uint32 | uint64](value T) string { return fmt.Sprint(value) }

func bits(value float64) string { return fmt.Sprintf("%016x", math.Float64bits(value)) }

func words(value string) string { return hex.EncodeToString([]byte(value)) }

func secondsOfTimestamp(at *timestamppb.Timestamp) string {
	return fmt.Sprintf("%d.%d", at.Seconds, at.Nanos)
}

func secondsOfDuration(long *durationpb.Duration) string {
	return fmt.Sprintf("%d.%d", long.Seconds, long.Nanos)
}
