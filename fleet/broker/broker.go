// Package broker is the fleet's MQTT broker: a NATS server inside this process
// that speaks MQTT 3.1.1 over TLS 1.3 and nothing else. Every client shows a
// certificate; what it may publish and read follows from the name in it. For
// fleets that bring their own broker, Mosquitto makes the configuration that
// keeps the same rules there.
//
// Nothing rests on this broker: not its queues, not its acknowledgements, not
// retained messages. It keeps them in memory, so a full disk is nothing to it,
// and forgets them when it ends.
package broker

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Errors that callers tell apart. They come wrapped.
var (
	ErrPort  = errors.New("another program listens there")
	ErrInUse = errors.New("in use by another process")
)

// Limits of the broker, told to operators in the documents.
const (
	MaxPayload    = 8 << 20         // bytes of one message with its topic; a client that sends more is cut
	DefaultMax    = 16384           // connections, of which each counts before it has shown who it is
	maxPending    = 32 << 20        // bytes that wait for one client; one that lets more wait is cut
	writeDeadline = 5 * time.Second // for one write to a client; a slower one is cut
	quietTime     = 5 * time.Second // for the TLS handshake, and again for CONNECT
	closeTime     = 5 * time.Second // for the whole broker to end
	startTime     = 20 * time.Second
)

// Config says how a Broker runs.
type Config struct {
	// Listen is where MQTT clients connect, as host:port. An empty host is all
	// addresses, port 0 one that is free.
	Listen string
	// Dir is the broker's own, and is made if need be. Nothing in it is worth
	// keeping.
	Dir string
	// TLS is the server's identity. What concerns clients in it is replaced.
	TLS *tls.Config
	// Who says whose certificate it is: a device's, or that of a service of
	// this fleet. An error refuses the connection. It is asked in each
	// handshake and again when the client has said its id; it must be quick.
	Who func(certs []*x509.Certificate) (name string, service bool, err error)
	// Max is how many connections there may be at once. 0 is DefaultMax.
	Max int
	// Log is told of trouble. nil is slog.Default.
	Log *slog.Logger
}

// Broker is a running broker.
type Broker struct {
	cfg  Config
	lock *os.File
	log  *logger
	gate *gate
	srv  *server.Server
	addr *net.TCPAddr

	admitting, closing sync.Once

	closed chan struct{}
	err    error // of closing; valid once closed is closed
}

// Open starts the broker; clients may connect when it returns. Errors are
// ErrPort, ErrInUse, and what is wrong with the directory or the configuration.
func Open(cfg Config) (*Broker, error) {
	if cfg.TLS == nil || cfg.Who == nil {
		return nil, errors.New("open the broker: it needs a server's identity and somebody who knows the clients' certificates")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Max == 0 {
		cfg.Max = DefaultMax
	}
	host, port, err := listenAddress(cfg.Listen)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, lock: lock, log: &logger{log: cfg.Log}, closed: make(chan struct{}),
	}
	b.gate = &gate{who: cfg.Who, clientID: b.clientID, refused: b.log.refusal, secret: rand.Text(), ready: make(chan struct{})}
	if err := b.start(host, port); err != nil {
		return nil, errors.Join(fmt.Errorf("open the broker on %s: %w", cfg.Listen, err), b.Close())
	}
	return b, nil
}

func (b *Broker) start(host string, port int) error {
	opts, err := b.options(host, port)
	if err != nil {
		return err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	b.srv = srv
	srv.SetLoggerV2(b.log, false, false, false)
	// With no port for NATS's own clients Start returns; what stops it comes as
	// a fatal log line and by no other way.
	srv.Start()
	if err := b.log.fatal(); err != nil {
		return err
	}
	if !srv.ReadyForConnections(startTime) {
		return fmt.Errorf("it wasn't ready after %s", startTime)
	}
	if err := b.limit(); err != nil {
		return err
	}
	b.letIn()
	b.addr = &net.TCPAddr{IP: net.ParseIP(opts.MQTT.Host), Port: opts.MQTT.Port}
	return nil
}

// letIn lets clients in that have come since NATS listens.
func (b *Broker) letIn() { b.admitting.Do(func() { close(b.gate.ready) }) }

// listenAddress takes host:port apart, and tries it, so that a port in use is
// told before anything is started.
func listenAddress(listen string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen address %q: %w: write it as host:port", listen, err)
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("listen address %q: the port is a number from 0 to 65535", listen)
	}
	l, err := net.Listen("tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "", 0, fmt.Errorf("listen on %s for MQTT: %w: stop that one or choose another port", listen, ErrPort)
	}
	if err != nil {
		return "", 0, fmt.Errorf("listen on %s for MQTT: %w", listen, err)
	}
	if host == "" { // NATS would take IPv4 alone
		host = l.Addr().(*net.TCPAddr).IP.String()
	}
	if err := l.Close(); err != nil {
		return "", 0, fmt.Errorf("listen on %s for MQTT: %w", listen, err)
	}
	return host, port, nil
}

// Addr is where the broker listens.
func (b *Broker) Addr() net.Addr { return b.addr }

// Run serves until ctx ends, then closes the broker.
func (b *Broker) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-b.closed:
	}
	return b.Close()
}

// Close ends the broker and all its connections, in at most 5 seconds. Run
// calls it; only a broker that never runs needs the call.
func (b *Broker) Close() error {
	b.closing.Do(func() {
		defer close(b.closed)
		b.letIn() // who still waits would hold up the end
		if b.srv != nil {
			ended := make(chan struct{})
			go func() {
				b.srv.Shutdown()
				close(ended)
			}()
			select {
			case <-ended:
			case <-time.After(closeTime):
				b.err = fmt.Errorf("close the broker: it didn't end within %s", closeTime)
			}
		}
		b.err = errors.Join(b.err, b.lock.Close())
	})
	<-b.closed
	return b.err
}
