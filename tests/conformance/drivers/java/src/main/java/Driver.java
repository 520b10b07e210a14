import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import io.grpc.Context;
import io.grpc.stub.BlockingClientCall;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import milepost.ConnectOptions;
import milepost.Milepost;
import milepost.MilepostException;
import milepost.Watch;
import milepost.WatchItem;
import milepost.conformance.v1.Decode;
import milepost.conformance.v1.Decoded;
import milepost.conformance.v1.FieldViolation;
import milepost.conformance.v1.Golden;
import milepost.conformance.v1.Options;
import milepost.conformance.v1.Outcome;
import milepost.conformance.v1.Step;
import milepost.conformance.v1.UploadScenario;
import milepost.conformance.v1.Watched;
import milepost.conformance.v1.WatchedAll;
import milepost.event.v1.Event;
import milepost.event.v1.WatchAllEventsRequest;
import milepost.event.v1.WatchAllEventsResponse;
import milepost.event.v1.WatchEventsResponse;
import milepost.scenario.v1.UploadHeader;
import milepost.session.v1.CreateSessionRequest;
import milepost.session.v1.Session;
import milepost.study.v1.WatchStudyRequest;
import milepost.study.v1.WatchStudyResponse;

/** The driver of the Java client (conformance.proto says what a driver is). */
final class Driver {
    private static final Map<String, Message.Builder> TYPES = Map.of(
            "milepost.conformance.v1.Golden", Golden.newBuilder(),
            "milepost.event.v1.Event", Event.newBuilder(),
            "milepost.event.v1.WatchEventsResponse", WatchEventsResponse.newBuilder(),
            "milepost.session.v1.CreateSessionRequest", CreateSessionRequest.newBuilder(),
            "milepost.session.v1.Session", Session.newBuilder());

    private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    private final Map<String, Milepost> clients = new HashMap<>();

    public static void main(String[] arguments) throws IOException {
        DataInputStream in = new DataInputStream(System.in);
        DataOutputStream out = new DataOutputStream(System.out);
        Driver driver = new Driver();
        while (true) {
            byte[] step;
            try {
                step = new byte[in.readInt()];
            } catch (EOFException closed) {
                System.exit(0);
                return;
            }
            in.readFully(step);
            byte[] outcome = driver.perform(Step.parseFrom(step)).toByteArray();
            out.writeInt(outcome.length);
            out.write(outcome);
            out.flush();
        }
    }

    private Outcome perform(Step step) {
        Options options = step.getOptions();
        Outcome.Builder outcome = Outcome.newBuilder().setStepId(step.getStepId());
        Context.CancellableContext context = options.hasDeadline()
                ? Context.current().withDeadlineAfter(nanos(options.getDeadline()), TimeUnit.NANOSECONDS, timer)
                : Context.current().withCancellation();
        if (options.hasCancelAfter()) {
            timer.schedule(() -> context.cancel(null), nanos(options.getCancelAfter()), TimeUnit.NANOSECONDS);
        }
        Context before = context.attach();
        try {
            act(step, outcome);
        } catch (MilepostException refused) {
            outcome.setError(error(refused));
        } catch (Exception fault) {
            fault.printStackTrace();
            outcome.getUnsupportedBuilder().setReason(fault.toString());
        } finally {
            context.detach(before);
            context.cancel(null);
        }
        return outcome.build();
    }

    private void act(Step step, Outcome.Builder outcome) throws Exception {
        switch (step.getActionCase()) {
            case DECODE -> outcome.setDecode(decode(step.getDecode()));
            case CREATE_SESSION -> outcome.getCreateSessionBuilder()
                    .setSession(client(step).create(step.getCreateSession()));
            case CREATE_AND_WAIT -> {
                Session session = client(step).create(step.getCreateAndWait());
                outcome.setCreateAndWait(client(step).await(session.getSessionId()));
            }
            case UPLOAD_SCENARIO -> {
                UploadScenario upload = step.getUploadScenario();
                UploadHeader header = UploadHeader.newBuilder().setDisplayName(upload.getDisplayName()).build();
                outcome.setUploadScenario(client(step).upload(Path.of(upload.getPath()), header));
            }
            case WATCH -> watch(client(step), step.getWatch(), outcome.getWatchBuilder());
            case WATCH_STUDY -> outcome.setWatchStudy(watchStudy(client(step), step.getWatchStudy()));
            case WATCH_ALL -> outcome.setWatchAll(watchAll(client(step), step.getWatchAll().getRequest()));
            default -> call(client(step), step, outcome);
        }
    }

    /** A call of the contracts: its stub by the request's file, its method by the request's name. */
    private static void call(Milepost client, Step step, Outcome.Builder outcome) {
        var field = Step.getDescriptor().findFieldByNumber(step.getActionCase().getNumber());
        Message request = (Message) step.getField(field);
        Object stub = switch (request.getDescriptorForType().getFile().getName()) {
            case "milepost/session/v1/session_service.proto" -> client.sessions();
            case "milepost/study/v1/study_service.proto" -> client.studies();
            case "milepost/scenario/v1/scenario_service.proto" -> client.scenarios();
            case "milepost/scenario/v1/template_service.proto" -> client.templates();
            default -> client.events();
        };
        String name = request.getDescriptorForType().getName().replaceAll("Request$", "");
        String method = name.substring(0, 1).toLowerCase() + name.substring(1);
        Object answer = client.call(() -> {
            try {
                Method found = stub.getClass().getMethod(method, request.getClass());
                return found.invoke(stub, request);
            } catch (InvocationTargetException failed) {
                throw (Exception) failed.getCause();
            }
        });
        outcome.setField(Outcome.getDescriptor().findFieldByNumber(field.getNumber()), answer);
    }

    private static void watch(Milepost client, milepost.conformance.v1.Watch wish, Watched.Builder seen)
            throws InterruptedException {
        try (Watch watch = client.watch(wish.getRequest())) {
            while (watch.hasNext() && note(watch.next(), wish, seen)) {
                if (seen.getSeqsCount() == wish.getPauseAfterEvents() && wish.hasPause()) {
                    TimeUnit.NANOSECONDS.sleep(nanos(wish.getPause()));
                }
            }
            seen.setReconnects(watch.reconnects());
        } catch (MilepostException broken) {
            seen.setError(error(broken));
        }
    }

    /** Notes an item; false: that is enough. */
    private static boolean note(WatchItem item, milepost.conformance.v1.Watch wish, Watched.Builder seen)
            throws InterruptedException {
        if (item instanceof WatchItem.Logged logged) {
            Event event = logged.event();
            seen.addSeqs(event.getSeq()).addKinds(event.getPayloadCase().getNumber());
            if (wish.getReportEvents()) {
                seen.addEvents(event);
            }
            TimeUnit.NANOSECONDS.sleep(nanos(wish.getPausePerEvent()));
            return seen.getSeqsCount() != wish.getStopAfterEvents();
        } else if (item instanceof WatchItem.Live) {
            seen.setCaughtUp(seen.getCaughtUp() + 1);
            return !wish.getStopWhenCaughtUp();
        } else if (item instanceof WatchItem.Behind) {
            seen.setFellBehind(seen.getFellBehind() + 1);
        } else if (item instanceof WatchItem.Alive) {
            seen.setHeartbeats(seen.getHeartbeats() + 1);
        } else if (item instanceof WatchItem.Positions) {
            seen.setFrames(seen.getFrames() + 1);
        } else if (item instanceof WatchItem.Ended ended) {
            seen.setTerminal(ended.mark());
        }
        return true;
    }

    private static WatchedAll watchAll(Milepost client, WatchAllEventsRequest request) {
        return client.call(() -> {
            WatchedAll.Builder seen = WatchedAll.newBuilder();
            BlockingClientCall<?, WatchAllEventsResponse> stream = client.events().watchAllEvents(request);
            for (WatchAllEventsResponse message = stream.read(); message != null; message = stream.read()) {
                seen.setEvents(seen.getEvents() + message.getEventsCount()).setPosition(message.getPosition());
                if (message.getCaughtUp()) {
                    break;
                }
            }
            stream.cancel("seen enough", null);
            return seen.build();
        });
    }

    private static WatchStudyResponse watchStudy(Milepost client, WatchStudyRequest request) {
        // The deadline of a try is that of the stream.
        return client.call(java.time.Duration.ofMinutes(5), () -> {
            WatchStudyResponse last = null;
            BlockingClientCall<?, WatchStudyResponse> stream = client.studies().watchStudy(request);
            for (WatchStudyResponse message = stream.read(); message != null; message = stream.read()) {
                last = message;
            }
            return last;
        });
    }

    private static Decoded decode(Decode wish) throws IOException {
        Message.Builder builder = TYPES.get(wish.getMessageType()).clone();
        if (wish.hasJson()) {
            JsonFormat.parser().merge(wish.getJson(), builder);
        } else {
            builder.mergeFrom(wish.getEncoded());
        }
        Message message = builder.build();
        Decoded.Builder decoded = Decoded.newBuilder()
                .setEncoded(message.toByteString())
                .setJson(JsonFormat.printer().preservingProtoFieldNames().print(message));
        if (message instanceof Golden golden) {
            decoded.putAllValues(Values.of(golden));
        }
        return decoded.build();
    }

    private Milepost client(Step step) throws IOException {
        String key = step.getOptions().getTarget() + " " + step.getOptions().getMetadataMap();
        Milepost known = clients.get(key);
        if (known == null) {
            known = connect(step.getOptions());
            clients.put(key, known);
        }
        return known;
    }

    private static Milepost connect(Options wish) throws IOException {
        var target = wish.getTarget();
        ConnectOptions options = ConnectOptions.fromEnvironment().withHeaders(wish.getMetadataMap());
        if (target.hasServer() || target.hasEventStore()) {
            options = options.withEventStore(target.getEventStore());
        }
        if (target.hasToken()) {
            options = options.withToken(target.getToken());
        }
        if (target.hasTlsCaPem()) {
            Path ca = Files.createTempFile("ca", ".pem");
            ca.toFile().deleteOnExit();
            Files.write(ca, target.getTlsCaPem().toByteArray());
            options = options.withTls(ca, null, null);
        }
        return Milepost.connect(target.hasServer() ? target.getServer() : System.getenv("MILEPOST_SERVER"), options);
    }

    private static milepost.conformance.v1.Error error(MilepostException failed) {
        var said = milepost.conformance.v1.Error.newBuilder()
                .setCode(failed.code().value())
                .setReason(failed.reason())
                .setDomain(failed.domain())
                .putAllMetadata(failed.metadata())
                .setMessage(failed.status().getMessage());
        failed.violations().forEach(it -> said.addFieldViolations(
                FieldViolation.newBuilder().setField(it.field()).setDescription(it.description())));
        failed.retryAfter().ifPresent(it ->
                said.setRetryDelay(Duration.newBuilder().setSeconds(it.getSeconds()).setNanos(it.getNano())));
        return said.build();
    }

    private static long nanos(Duration length) {
        return TimeUnit.SECONDS.toNanos(length.getSeconds()) + length.getNanos();
    }
}
