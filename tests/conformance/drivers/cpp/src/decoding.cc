#include <algorithm>
#include <bit>
#include <memory>
#include <string>
#include <vector>

#include <google/protobuf/util/json_util.h>

#include "parts.h"

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string hex(std::string_view bytes) {
  std::string text;
  for (unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

template <class Bits>
std::string hex_of(Bits bits) {
  std::string bytes;
  for (int shift = 8 * (sizeof(Bits) - 1); shift >= 0; shift -= 8) {
    bytes += static_cast<char>(bits >> shift);
  }
  return hex(bytes);
}

std::string time_of(const Message& message) {
  const Reflection& its = *message.GetReflection();
  const auto& type = *message.GetDescriptor();
  return std::to_string(its.GetInt64(message, type.FindFieldByName("seconds"))) + "." +
         std::to_string(its.GetInt32(message, type.FindFieldByName("nanos")));
}

/// The text of a value: of a field that has one, or of an element of a repeated one.
std::string text(const Message& message, const FieldDescriptor* field, int index = -1) {
  const Reflection& its = *message.GetReflection();
  bool one = index < 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(one ? its.GetInt32(message, field) : its.GetRepeatedInt32(message, field, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(one ? its.GetInt64(message, field) : its.GetRepeatedInt64(message, field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(one ? its.GetUInt32(message, field) : its.GetRepeatedUInt32(message, field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(one ? its.GetUInt64(message, field) : its.GetRepeatedUInt64(message, field, index));
    case FieldDescriptor::CPPTYPE_ENUM:
      return std::to_string(one ? its.GetEnumValue(message, field) : its.GetRepeatedEnumValue(message, field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return its.GetBool(message, field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_FLOAT:
      return hex_of(std::bit_cast<std::uint32_t>(its.GetFloat(message, field)));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return hex_of(std::bit_cast<std::uint64_t>(one ? its.GetDouble(message, field)
                                                     : its.GetRepeatedDouble(message, field, index)));
    case FieldDescriptor::CPPTYPE_STRING:
      return hex(one ? its.GetString(message, field) : its.GetRepeatedString(message, field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return time_of(its.GetMessage(message, field));
  }
  return "";
}

std::string list(const Message& message, const FieldDescriptor* field) {
  const Reflection& its = *message.GetReflection();
  std::vector<std::string> parts;
  for (int index = 0; index < its.FieldSize(message, field); index++) {
    if (field->is_map()) {
      const Message& entry = its.GetRepeatedMessage(message, field, index);
      const auto& type = *entry.GetDescriptor();
      parts.push_back(text(entry, type.map_key()) + "=" + text(entry, type.map_value()));
    } else {
      parts.push_back(text(message, field, index));
    }
  }
  if (field->is_map()) {
    std::ranges::sort(parts);
  }
  std::string joined = parts.empty() ? "" : parts.front();
  for (std::size_t index = 1; index < parts.size(); index++) {
    joined += "," + parts[index];
  }
  return joined;
}

void tell_values(const pb::Golden& golden, pb::Decoded& to) {
  std::vector<const FieldDescriptor*> fields;
  golden.GetReflection()->ListFields(golden, &fields);
  for (const auto* field : fields) {
    if (field->is_repeated()) {
      (*to.mutable_values())[field->name()] = list(golden, field);
    } else if (field->name() != "event_choice") {
      (*to.mutable_values())[field->name()] = text(golden, field);
    }
    if (field->real_containing_oneof() != nullptr) {
      (*to.mutable_values())["choice"] = field->name();
    }
  }
}

std::unique_ptr<Message> made(const std::string& type) {
  if (type == "milepost.conformance.v1.Golden") {
    return std::make_unique<pb::Golden>();
  } else if (type == "milepost.event.v1.Event") {
    return std::make_unique<milepost::event::v1::Event>();
  } else if (type == "milepost.event.v1.WatchEventsResponse") {
    return std::make_unique<milepost::event::v1::WatchEventsResponse>();
  } else if (type == "milepost.session.v1.CreateSessionRequest") {
    return std::make_unique<milepost::session::v1::CreateSessionRequest>();
  }
  return std::make_unique<milepost::session::v1::Session>();
}

}  // namespace

pb::Decoded decode(const pb::Decode& wish) {
  auto message = made(wish.message_type());
  if (wish.has_json()) {
    auto status = google::protobuf::util::JsonStringToMessage(wish.json(), message.get());
    if (!status.ok()) {
      throw std::runtime_error(std::string(status.message()));
    }
  } else if (!message->ParseFromString(wish.encoded())) {
    throw std::runtime_error("no such message in these bytes");
  }
  pb::Decoded decoded;
  decoded.set_encoded(message->SerializeAsString());
  google::protobuf::util::JsonPrintOptions names;
  names.preserve_proto_field_names = true;
  if (!google::protobuf::util::MessageToJsonString(*message, decoded.mutable_json(), names).ok()) {
    decoded.clear_json();
  }
  if (const auto* golden = dynamic_cast<const pb::Golden*>(message.get())) {
    tell_values(*golden, decoded);
  }
  return decoded;
}
