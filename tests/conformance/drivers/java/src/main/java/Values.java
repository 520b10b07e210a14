import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.EnumValueDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Duration;
import com.google.protobuf.MapEntry;
import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import milepost.conformance.v1.Golden;

/** The values of a Golden, written as conformance.proto says. */
final class Values {
    private Values() {}

    static Map<String, String> of(Golden message) {
        Map<String, String> told = new TreeMap<>();
        message.getAllFields().forEach((field, value) -> {
            if (field.isMapField()) {
                List<?> entries = (List<?>) value;
                told.put(field.getName(), entries.stream().map(Values::entry).sorted().collect(Collectors.joining(",")));
            } else if (field.isRepeated()) {
                List<?> values = (List<?>) value;
                told.put(
                        field.getName(),
                        values.stream().map(it -> text(field, it)).collect(Collectors.joining(",")));
            } else if (!field.getName().equals("event_choice")) {
                told.put(field.getName(), text(field, value));
            }
            if (field.getRealContainingOneof() != null) {
                told.put("choice", field.getName());
            }
        });
        return told;
    }

    private static String entry(Object it) {
        MapEntry<?, ?> entry = (MapEntry<?, ?>) it;
        FieldDescriptor key = entry.getDescriptorForType().findFieldByNumber(1);
        FieldDescriptor value = entry.getDescriptorForType().findFieldByNumber(2);
        return text(key, entry.getKey()) + "=" + text(value, entry.getValue());
    }

    private static String text(FieldDescriptor field, Object value) {
        HexFormat hex = HexFormat.of();
        return switch (field.getType()) {
            case DOUBLE -> hex.toHexDigits(Double.doubleToRawLongBits((Double) value));
            case FLOAT -> hex.toHexDigits(Float.floatToRawIntBits((Float) value));
            case STRING -> hex.formatHex(((String) value).getBytes(StandardCharsets.UTF_8));
            case BYTES -> hex.formatHex(((ByteString) value).toByteArray());
            case UINT32, FIXED32 -> Integer.toUnsignedString((Integer) value);
            case UINT64, FIXED64 -> Long.toUnsignedString((Long) value);
            case ENUM -> String.valueOf(((EnumValueDescriptor) value).getNumber());
            case MESSAGE -> time((Message) value);
            default -> value.toString();
        };
    }

    private static String time(Message value) {
        if (value instanceof Timestamp at) {
            return at.getSeconds() + "." + at.getNanos();
        }
        Duration length = (Duration) value;
        return length.getSeconds() + "." + length.getNanos();
    }
}
