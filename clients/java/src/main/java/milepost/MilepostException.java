package milepost;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import milepost.errors.v1.ErrorReason;

/**
 * A call that failed for good.
 *
 * <p>Tell failures apart by {@link #is}: the table of reasons, the metadata each carries and the status it travels
 * under is {@code milepost/errors/v1/errors.proto}. Three reasons are the client's own: {@link #UNREACHABLE},
 * {@link #LOG_GAP} and {@link #SCENARIO_FILES}. A status that carries no reason has its own name as reason, for example
 * {@code DEADLINE_EXCEEDED}: the call took too long, and what it asked for may have happened.
 */
public final class MilepostException extends RuntimeException {
    /** No server answered, or the connection broke, for as long as the client was willing to try. */
    public static final String UNREACHABLE = "UNREACHABLE";
    /** A watched log skipped an event; never expected. */
    public static final String LOG_GAP = "LOG_GAP";
    /** The local files make no scenario: missing, ambiguous, a symbolic link, too many. */
    public static final String SCENARIO_FILES = "SCENARIO_FILES";

    private static final long serialVersionUID = 1;
    private static final String PREFIX = "ERROR_REASON_";

    private final transient com.google.rpc.Status status;
    private final String reason;

    /**
     * One field of a request, or one file ({@code path:line}) of a scenario, and what is wrong with it.
     *
     * @param field which
     * @param description what it should be
     */
    public record Violation(String field, String description) {}

    private MilepostException(com.google.rpc.Status status, String reason, Throwable cause) {
        super(reason + ": " + status.getMessage(), cause);
        this.status = status;
        this.reason = reason;
    }

    /** The status the call ended with; of an error the client made itself the nearest one. */
    public Status.Code code() {
        return Status.fromCodeValue(status.getCode()).getCode();
    }

    /** The name of an {@link ErrorReason} without its prefix, one of the client's own, or the name of the status. */
    public String reason() {
        return reason;
    }

    /** Whether the server refused the call for this reason. */
    public boolean is(ErrorReason other) {
        return other.name().equals(PREFIX + reason);
    }

    /** Whose reason it is: {@code milepost}; empty when no server of ours said it. */
    public String domain() {
        return detail(ErrorInfo.class).map(ErrorInfo::getDomain).orElse("");
    }

    /** What belongs to the reason, for example {@code legal_verbs} of INVALID_TRANSITION. */
    public Map<String, String> metadata() {
        return detail(ErrorInfo.class).map(ErrorInfo::getMetadataMap).orElse(Map.of());
    }

    /** The fields, or lines of files, that were refused; empty when it was about something else. */
    public List<Violation> violations() {
        List<BadRequest.FieldViolation> fields =
                detail(BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of());
        return fields.stream().map(it -> new Violation(it.getField(), it.getDescription())).toList();
    }

    /** After what time the server thinks another try worth it, where it said so. */
    public Optional<Duration> retryAfter() {
        return detail(RetryInfo.class)
                .map(it -> Duration.ofSeconds(it.getRetryDelay().getSeconds(), it.getRetryDelay().getNanos()));
    }

    /** All that the server said, with every detail. */
    public com.google.rpc.Status status() {
        return status;
    }

    /** The typed form of a failed call: of any exception that a stub throws. */
    public static MilepostException from(Throwable failure) {
        if (failure instanceof MilepostException typed) {
            return typed;
        }
        Context context = Context.current();
        Status status = context.isCancelled() ? Contexts.statusFromCancelled(context) : Status.fromThrowable(failure);
        Metadata trailers = Status.trailersFromThrowable(failure);
        com.google.rpc.Status details = StatusProto.fromStatusAndTrailers(status, trailers);
        MilepostException typed = from(details, failure);
        boolean transport = switch (status.getCode()) {
            case UNAVAILABLE, INTERNAL, UNKNOWN -> true;
            case CANCELLED -> !context.isCancelled();
            default -> false;
        };
        // Our servers give a reason with every refusal: without one the transport made it up.
        return transport && typed.domain().isEmpty() ? unreachable(details.getMessage(), failure) : typed;
    }

    /** The typed form of a status within an answer: what became of one item of a batch. */
    public static MilepostException from(com.google.rpc.Status status) {
        return from(status, null);
    }

    static MilepostException unreachable(String message, Throwable cause) {
        return own(Status.Code.UNAVAILABLE, UNREACHABLE, message, cause);
    }

    static MilepostException cancelled(InterruptedException cause) {
        return own(Status.Code.CANCELLED, "CANCELLED", "the waiting thread was interrupted", cause);
    }

    static MilepostException logGap(String sessionId, long expectedSeq, long actualSeq) {
        String message = "log of " + sessionId + ": expected seq " + expectedSeq + ", got " + actualSeq;
        return own(Status.Code.DATA_LOSS, LOG_GAP, message, null);
    }

    static MilepostException scenarioFiles(String message, Throwable cause) {
        return own(Status.Code.INVALID_ARGUMENT, SCENARIO_FILES, message, cause);
    }

    /** Whether the same call can succeed another time. A stale {@code etag} is aborted, too, and stays stale. */
    boolean mayPass() {
        return code() == Status.Code.UNAVAILABLE
                || (code() == Status.Code.ABORTED && !is(ErrorReason.ERROR_REASON_ETAG_MISMATCH));
    }

    private static MilepostException own(Status.Code code, String reason, String message, Throwable cause) {
        com.google.rpc.Status status =
                com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage(message).build();
        return new MilepostException(status, reason, cause);
    }

    private static MilepostException from(com.google.rpc.Status status, Throwable cause) {
        String ofStatus = Status.fromCodeValue(status.getCode()).getCode().name();
        String reason = detail(status, ErrorInfo.class).map(ErrorInfo::getReason).orElse(ofStatus);
        return new MilepostException(status, reason, cause);
    }

    private <T extends com.google.protobuf.Message> Optional<T> detail(Class<T> type) {
        return detail(status, type);
    }

    private static <T extends com.google.protobuf.Message> Optional<T> detail(
            com.google.rpc.Status status, Class<T> type) {
        for (Any detail : status.getDetailsList()) {
            try {
                if (detail.is(type)) {
                    return Optional.of(detail.unpack(type));
                }
            } catch (InvalidProtocolBufferException unreadable) {
                // A detail that cannot be read says nothing; the status itself still does.
                continue;
            }
        }
        return Optional.empty();
    }
}
