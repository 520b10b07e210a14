package milepost;

import io.grpc.Metadata;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/**
 * How to connect. A value: each {@code with} gives a changed copy.
 *
 * <p>Without {@code tlsCa} nothing is encrypted, and a token travels in the clear: on this machine, or where something
 * else encrypts.
 *
 * @param eventStore {@code host:port} of event_store; empty: the next port beside session_api
 * @param token bearer token (JWT); empty: none
 * @param tlsCa authorities (PEM) of the servers' certificates; set: connect over TLS. Null: do not
 * @param tlsCert this client's certificate chain (PEM); null: none
 * @param tlsKey its private key (PEM, PKCS 8); null: none
 * @param headers metadata that goes with every call
 * @param retryFor how long calls, and watches since they last heard something, try to get through to a server that is
 *     away
 * @param silence after what silence a watch connects anew; servers say something every 5 s
 */
public record ConnectOptions(
        String eventStore,
        String token,
        Path tlsCa,
        Path tlsCert,
        Path tlsKey,
        Map<String, String> headers,
        Duration retryFor,
        Duration silence) {

    /** No encryption and no proof of who calls, as {@code milepost up} serves it. */
    public static final ConnectOptions DEFAULT = new ConnectOptions(
            "", "", null, null, null, Map.of(), Duration.ofSeconds(30), Duration.ofSeconds(15));

    /** From MILEPOST_EVENT_STORE, MILEPOST_TOKEN, MILEPOST_TLS_CA, MILEPOST_TLS_CERT and MILEPOST_TLS_KEY. */
    public static ConnectOptions fromEnvironment() {
        return DEFAULT.withEventStore(variable("EVENT_STORE"))
                .withToken(variable("TOKEN"))
                .withTls(path("TLS_CA"), path("TLS_CERT"), path("TLS_KEY"));
    }

    /** With another event store. */
    public ConnectOptions withEventStore(String value) {
        return new ConnectOptions(value, token, tlsCa, tlsCert, tlsKey, headers, retryFor, silence);
    }

    /** With a bearer token. */
    public ConnectOptions withToken(String value) {
        return new ConnectOptions(eventStore, value, tlsCa, tlsCert, tlsKey, headers, retryFor, silence);
    }

    /** Over TLS, for {@code ca}; {@code cert} and {@code key} where the server wants to see a certificate, or null. */
    public ConnectOptions withTls(Path ca, Path cert, Path key) {
        return new ConnectOptions(eventStore, token, ca, cert, key, headers, retryFor, silence);
    }

    /** With metadata that goes with every call. */
    public ConnectOptions withHeaders(Map<String, String> value) {
        return new ConnectOptions(eventStore, token, tlsCa, tlsCert, tlsKey, Map.copyOf(value), retryFor, silence);
    }

    /** With another patience. */
    public ConnectOptions withRetryFor(Duration value) {
        return new ConnectOptions(eventStore, token, tlsCa, tlsCert, tlsKey, headers, value, silence);
    }

    /** With another limit of silence. */
    public ConnectOptions withSilence(Duration value) {
        return new ConnectOptions(eventStore, token, tlsCa, tlsCert, tlsKey, headers, retryFor, value);
    }

    /** What goes with every call. */
    Metadata metadata() {
        Metadata metadata = new Metadata();
        headers.forEach((name, value) -> metadata.put(key(name), value));
        if (!token.isEmpty()) {
            metadata.put(key("authorization"), "Bearer " + token);
        }
        return metadata;
    }

    private static Metadata.Key<String> key(String name) {
        return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
    }

    private static String variable(String name) {
        return System.getenv().getOrDefault("MILEPOST_" + name, "");
    }

    private static Path path(String name) {
        return variable(name).isEmpty() ? null : Path.of(variable(name));
    }
}
