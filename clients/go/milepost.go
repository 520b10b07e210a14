// Package milepost is a client of Milepost: SUMO, the traffic simulator, as a durable service.
//
//	client, err := milepost.Connect(milepost.FromEnvironment())
//	defer client.Close()
//	scenario, err := client.UploadScenario(ctx, "city", "")
//	session, err := client.Sessions.CreateSession(ctx, request)
//	for item, err := range client.Watch(ctx, &eventv1.WatchEventsRequest{SessionId: id}) { … }
//
// The services of the contracts are fields of [Client]; the comments of the generated packages (milepost/session/v1,
// milepost/event/v1 …) say what each call does. Beneath them the client proves who calls, tries again while that can
// help and is safe, gives requests the id that makes it safe, and turns every failure into an [*Error].
package milepost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	blobv1 "milepost/blob/v1"
	eventv1 "milepost/event/v1"
	scenariov1 "milepost/scenario/v1"
	sessionv1 "milepost/session/v1"
	studyv1 "milepost/study/v1"
)

const (
	// DefaultServer is where `milepost up` serves.
	DefaultServer = "127.0.0.1:7400"
	// DefaultRetryFor is how long calls and watches try to get through to a server that is away.
	DefaultRetryFor = 30 * time.Second
	// DefaultSilence is after how long without a word a watch connects anew; servers say something every 5 s.
	DefaultSilence = 15 * time.Second
)

// Options say where the servers are and how to prove who calls. The zero value is `milepost up` on this machine.
type Options struct {
	// Server is session_api's `host:port`; empty: DefaultServer.
	Server string
	// EventStore is event_store's `host:port`; empty: the next port of Server, where `milepost up` has it.
	EventStore string
	// Token is a bearer token; empty: none. Without TLS it travels in the clear.
	Token string
	// TLS of the connections; nil: no encryption.
	TLS *tls.Config
	// RetryFor bounds how long a call without a deadline, or a watch that hears nothing, tries; 0: DefaultRetryFor.
	RetryFor time.Duration
	// Silence is after how long without a word a watch connects anew; 0: DefaultSilence.
	Silence time.Duration
}

// Client is connected to a Milepost. It may be used by any number of goroutines.
type Client struct {
	// Sessions has the verbs of a session.
	Sessions sessionv1.SessionServiceClient
	// Scenarios has those of a scenario; UploadScenario sends one.
	Scenarios scenariov1.ScenarioServiceClient
	// Templates has scenarios with parameters.
	Templates scenariov1.TemplateServiceClient
	// Studies compares variants on many seeds.
	Studies studyv1.StudyServiceClient
	// Events reads logs; Watch and WatchAll follow them over any number of connections.
	Events eventv1.EventServiceClient
	// Blobs has artifacts, by their digest.
	Blobs blobv1.BlobServiceClient

	options Options
	api     *grpc.ClientConn
	store   *grpc.ClientConn
}

// FromEnvironment reads MILEPOST_SERVER, MILEPOST_EVENT_STORE and MILEPOST_TOKEN; and MILEPOST_TLS_CA,
// MILEPOST_TLS_CERT and MILEPOST_TLS_KEY, paths of PEM files. A file that cannot be read makes Connect fail.
func FromEnvironment() Options {
	options := Options{
		Server:     os.Getenv("MILEPOST_SERVER"),
		EventStore: os.Getenv("MILEPOST_EVENT_STORE"),
		Token:      os.Getenv("MILEPOST_TOKEN"),
	}
	authorities := os.Getenv("MILEPOST_TLS_CA")
	if authorities == "" {
		return options
	}
	config, err := tlsConfig(authorities, os.Getenv("MILEPOST_TLS_CERT"), os.Getenv("MILEPOST_TLS_KEY"))
	if err != nil {
		config = &tls.Config{VerifyConnection: func(tls.ConnectionState) error { return err }}
	}
	options.TLS = config
	return options
}

// Connect makes a client. Nothing is sent before the first call; an error says that an address is none.
func Connect(options Options) (*Client, error) {
	if options.Server == "" {
		options.Server = DefaultServer
	}
	if options.EventStore == "" {
		host, port, err := net.SplitHostPort(options.Server)
		number, notNumber := strconv.Atoi(port)
		if err = errors.Join(err, notNumber); err != nil {
			return nil, fmt.Errorf("%q is not host:port: %w", options.Server, err)
		}
		options.EventStore = net.JoinHostPort(host, strconv.Itoa(number+1))
	}
	if options.RetryFor == 0 {
		options.RetryFor = DefaultRetryFor
	}
	if options.Silence == 0 {
		options.Silence = DefaultSilence
	}
	api, err := dial(options.Server, options)
	if err != nil {
		return nil, err
	}
	store, err := dial(options.EventStore, options)
	if err != nil {
		return nil, errors.Join(err, api.Close())
	}
	return &Client{
		Sessions:  sessionv1.NewSessionServiceClient(api),
		Scenarios: scenariov1.NewScenarioServiceClient(api),
		Templates: scenariov1.NewTemplateServiceClient(api),
		Studies:   studyv1.NewStudyServiceClient(api),
		Events:    eventv1.NewEventServiceClient(store),
		Blobs:     blobv1.NewBlobServiceClient(store),
		options:   options,
		api:       api,
		store:     store,
	}, nil
}

// Close ends all calls and connections.
func (c *Client) Close() error {
	return errors.Join(c.api.Close(), c.store.Close())
}

func dial(address string, options Options) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if options.TLS != nil {
		transport = credentials.NewTLS(options.TLS)
	}
	settings := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// The servers permit a ping every 10 s; a dead peer is noticed within 20 s of an open call.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 5 * time.Second}),
		// A server that is restarted is back within seconds; gRPC's default waits up to two minutes to look for it.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithUnaryInterceptor(retrying(options.RetryFor)),
		grpc.WithStreamInterceptor(typedStream),
	}
	if options.Token != "" {
		settings = append(settings, grpc.WithPerRPCCredentials(bearer(options.Token)))
	}
	return grpc.NewClient(address, settings...)
}

// bearer is a token that goes with every call, encrypted or not: who connects without TLS has chosen so.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func tlsConfig(authorities, certificate, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(authorities)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", authorities)
	}
	if certificate != "" {
		own, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}
