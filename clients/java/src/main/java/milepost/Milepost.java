package milepost;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import milepost.event.v1.EventKind;
import milepost.event.v1.EventServiceGrpc;
import milepost.event.v1.EventServiceGrpc.EventServiceBlockingV2Stub;
import milepost.event.v1.WatchEventsRequest;
import milepost.scenario.v1.Scenario;
import milepost.scenario.v1.ScenarioServiceGrpc;
import milepost.scenario.v1.ScenarioServiceGrpc.ScenarioServiceBlockingV2Stub;
import milepost.scenario.v1.TemplateServiceGrpc;
import milepost.scenario.v1.UploadHeader;
import milepost.scenario.v1.UploadScenarioResponse;
import milepost.session.v1.CreateDemoSessionRequest;
import milepost.session.v1.CreateSessionRequest;
import milepost.session.v1.GetSessionRequest;
import milepost.session.v1.Session;
import milepost.session.v1.SessionServiceGrpc;
import milepost.session.v1.SessionServiceGrpc.SessionServiceBlockingV2Stub;
import milepost.session.v1.SessionSpec;
import milepost.session.v1.SessionView;
import milepost.study.v1.StudyServiceGrpc;

/**
 * A client of a Milepost server; for any number of threads.
 *
 * <p>What a generated stub does well stays a stub: {@link #sessions}, {@link #studies}, {@link #scenarios}, {@link
 * #templates} and {@link #events}, used within {@link #call}, which tries again while that can help and throws {@link
 * MilepostException}. The contracts in {@code protos/} name effect, precondition and errors of each call. Deadlines and
 * cancellation are gRPC's: run a call in an {@link io.grpc.Context} that has them.
 */
public final class Milepost implements AutoCloseable {
    /** Where {@code milepost up} serves. */
    public static final String DEFAULT_SERVER = "127.0.0.1:7400";

    // What even the last try may take: a server that came back at the last moment still answers.
    private static final Duration LAST_TRY = Duration.ofSeconds(5);
    // Uploads are as long as they are; a call without any deadline could hang for ever.
    private static final Duration UPLOAD_TIMEOUT = Duration.ofHours(1);
    private static final int CLOSE_TIMEOUT_S = 5;

    private final ConnectOptions options;
    private final ManagedChannel api;
    private final ManagedChannel store;
    private final ClientInterceptor proof;
    private final ScheduledExecutorService deadlines = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "milepost-deadlines");
        thread.setDaemon(true);
        return thread;
    });

    private Milepost(String server, ConnectOptions options) throws IOException {
        this.options = options;
        this.proof = MetadataUtils.newAttachHeadersInterceptor(options.metadata());
        this.api = open(server, options);
        this.store = open(options.eventStore().isEmpty() ? beside(server) : options.eventStore(), options);
    }

    /** A client of the session_api at {@code server}, {@code host:port}, with what the environment says of the rest. */
    public static Milepost connect(String server) throws IOException {
        return connect(server, ConnectOptions.fromEnvironment());
    }

    /**
     * A client of the session_api at {@code server}, {@code host:port}. Connects on first use.
     *
     * @throws IOException a key or certificate cannot be read
     */
    public static Milepost connect(String server, ConnectOptions options) throws IOException {
        return new Milepost(server, options);
    }

    /** SessionService: creates, commands and looks up sessions. */
    public SessionServiceBlockingV2Stub sessions() {
        return SessionServiceGrpc.newBlockingV2Stub(api).withInterceptors(proof);
    }

    /** ScenarioService: looks scenarios up. {@link #upload} uploads them. */
    public ScenarioServiceBlockingV2Stub scenarios() {
        return ScenarioServiceGrpc.newBlockingV2Stub(api).withInterceptors(proof);
    }

    /** TemplateService: scenarios with parameters. */
    public TemplateServiceGrpc.TemplateServiceBlockingV2Stub templates() {
        return TemplateServiceGrpc.newBlockingV2Stub(api).withInterceptors(proof);
    }

    /** StudyService: compares variants on many seeds. */
    public StudyServiceGrpc.StudyServiceBlockingV2Stub studies() {
        return StudyServiceGrpc.newBlockingV2Stub(api).withInterceptors(proof);
    }

    /** EventService: reads logs and asks about them. {@link #watch} follows one. */
    public EventServiceBlockingV2Stub events() {
        return EventServiceGrpc.newBlockingV2Stub(store).withInterceptors(proof);
    }

    /**
     * Makes a call, again while the server is away or several writers met, for {@code retryFor} at most.
     *
     * <p>Reads can be repeated as they are. A request that creates or commands needs a {@code request_id} of its own,
     * the same in all tries: {@link #newRequestId} before the call, not in it.
     *
     * @throws MilepostException of the last try
     */
    public <T> T call(Callable<T> attempt) {
        return call(null, attempt);
    }

    /** As {@link #call(Callable)}, where each try may take {@code timeout}; null: what is left of {@code retryFor}. */
    public <T> T call(Duration timeout, Callable<T> attempt) {
        Backoff backoff = new Backoff(options.retryFor());
        while (true) {
            Duration left = backoff.remaining();
            Duration each = timeout != null ? timeout : left.compareTo(LAST_TRY) > 0 ? left : LAST_TRY;
            MilepostException error;
            try (Context.CancellableContext bounded =
                    Context.current().withDeadlineAfter(each.toNanos(), TimeUnit.NANOSECONDS, deadlines)) {
                return bounded.call(attempt);
            } catch (Exception failed) {
                error = MilepostException.from(failed);
            }
            if (!error.mayPass()) {
                throw error;
            }
            backoff.await(error);
            // gRPC's own wait to look for a server that went away grows to two minutes.
            api.resetConnectBackoff();
            store.resetConnectBackoff();
        }
    }

    /** A name for a wish: all tries of it carry the same. */
    public static String newRequestId() {
        return UUID.randomUUID().toString();
    }

    /** Creates a session and queues it. It is durable when this returns. */
    public Session create(SessionSpec spec) {
        return create(CreateSessionRequest.newBuilder().setSpec(spec).build());
    }

    /** As {@link #create(SessionSpec)}, with all there is to say; a {@code request_id} is put in where there is none. */
    public Session create(CreateSessionRequest request) {
        CreateSessionRequest named = request.getRequestId().isEmpty()
                ? request.toBuilder().setRequestId(newRequestId()).build()
                : request;
        return call(() -> sessions().createSession(named)).getSession();
    }

    /** Creates a session of the bundled city and queues it. */
    public Session createDemo(int seed) {
        CreateDemoSessionRequest.Builder request =
                CreateDemoSessionRequest.newBuilder().setRequestId(newRequestId()).setSeed(seed);
        return call(() -> sessions().createDemoSession(request.build())).getSession();
    }

    /** Waits for the session's end, however long and however often it is suspended; the FULL session then. */
    public Session await(String sessionId) {
        Session session = full(sessionId, 0);
        while (!hasEnded(session)) {
            // Its turns alone: what happens between them is no end.
            WatchEventsRequest request = WatchEventsRequest.newBuilder()
                    .setSessionId(sessionId)
                    .setAfterSeq(session.getSeq())
                    .addKinds(EventKind.EVENT_KIND_SESSION_COMPLETED)
                    .addKinds(EventKind.EVENT_KIND_SESSION_FAILED)
                    .addKinds(EventKind.EVENT_KIND_SESSION_CANCELLED)
                    .build();
            long seq = 0;
            try (Watch watch = watch(request)) {
                while (seq == 0 && watch.hasNext()) {
                    WatchItem item = watch.next();
                    if (item instanceof WatchItem.Logged logged) {
                        seq = logged.event().getSeq();
                    } else if (item instanceof WatchItem.Ended ended) {
                        seq = ended.mark().getSeq();
                    }
                }
            }
            session = full(sessionId, seq);
        }
        return session;
    }

    /** Follows a session's log from its begin: history, then live, until it ends. Close it to stop earlier. */
    public Watch watch(String sessionId) {
        return watch(WatchEventsRequest.newBuilder().setSessionId(sessionId).build());
    }

    /** As {@link #watch(String)}, with all there is to say: from where, which kinds, phases, frames. */
    public Watch watch(WatchEventsRequest request) {
        return new Watch(
                request,
                it -> {
                    store.resetConnectBackoff();
                    return events().watchEvents(it);
                },
                options);
    }

    /**
     * Uploads a {@code .sumocfg}, a directory with exactly one, or a zip archive; validated before it is stored.
     *
     * @throws MilepostException SCENARIO_FILES for what is wrong with the local files; SCENARIO_INVALID with a violation
     *     per finding ({@code file:line}) for what is wrong with the scenario
     */
    public Scenario upload(Path path) {
        String name = path.toAbsolutePath().normalize().getFileName().toString();
        int dot = name.lastIndexOf('.');
        return upload(path, UploadHeader.newBuilder().setDisplayName(dot > 0 ? name.substring(0, dot) : name).build());
    }

    /** As {@link #upload(Path)}, with a display name, or to have the files validated only; the rest is filled in. */
    public Scenario upload(Path path, UploadHeader header) {
        UploadScenarioResponse stored;
        if (Uploads.isZip(path)) {
            stored = call(UPLOAD_TIMEOUT, () -> Uploads.zip(scenarios(), header.toBuilder(), path));
        } else {
            ScenarioFiles files = ScenarioFiles.collect(path);
            stored = call(UPLOAD_TIMEOUT, () -> Uploads.files(scenarios(), header.toBuilder(), files));
        }
        return stored.getScenario();
    }

    /** Ends what is still under way and closes the connections. */
    @Override
    public void close() {
        deadlines.shutdown();
        for (ManagedChannel channel : new ManagedChannel[] {api, store}) {
            channel.shutdownNow();
            try {
                channel.awaitTermination(CLOSE_TIMEOUT_S, TimeUnit.SECONDS);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private Session full(String sessionId, long minSeq) {
        GetSessionRequest.Builder request =
                GetSessionRequest.newBuilder().setSessionId(sessionId).setView(SessionView.SESSION_VIEW_FULL);
        return call(() -> sessions().getSession(request.setMinSeq(minSeq).build())).getSession();
    }

    private static boolean hasEnded(Session session) {
        return switch (session.getState()) {
            case SESSION_STATE_COMPLETED, SESSION_STATE_FAILED, SESSION_STATE_CANCELLED -> true;
            default -> false;
        };
    }

    private static ManagedChannel open(String address, ConnectOptions options) throws IOException {
        return Grpc.newChannelBuilder(address, credentials(options))
                // A dead peer is noticed within 20 s of an open call; the servers permit a ping every 10 s.
                .keepAliveTime(15, TimeUnit.SECONDS)
                .keepAliveTimeout(5, TimeUnit.SECONDS)
                // Tries again are made in `call`, in sight.
                .disableRetry()
                .build();
    }

    private static ChannelCredentials credentials(ConnectOptions options) throws IOException {
        if (options.tlsCa() == null) {
            return InsecureChannelCredentials.create();
        }
        TlsChannelCredentials.Builder tls =
                TlsChannelCredentials.newBuilder().trustManager(options.tlsCa().toFile());
        if (options.tlsCert() != null) {
            tls.keyManager(options.tlsCert().toFile(), options.tlsKey().toFile());
        }
        return tls.build();
    }

    /** The event store's address when only session_api's is known: the next port. */
    private static String beside(String server) {
        int colon = server.lastIndexOf(':');
        try {
            return server.substring(0, colon + 1) + (Integer.parseInt(server.substring(colon + 1)) + 1);
        } catch (NumberFormatException noPort) {
            throw new IllegalArgumentException("\"" + server + "\" is not host:port", noPort);
        }
    }
}
