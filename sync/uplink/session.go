package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Times of a session.
const (
	connectLimit  = 10 * time.Second // for TCP, TLS and CONNACK, and again for SUBACK
	keepAlive     = 20 * time.Second
	pingLimit     = 10 * time.Second
	handoverLimit = 300 * time.Millisecond // for the client to take a message, before it is offered again
	goodbyeLimit  = 400 * time.Millisecond // for the broker to take the last word
	closeLimit    = 200                    // for the client to end, milliseconds
)

// Lengths of the queues. The one that comes in has room for more than a fleet
// says at once; what doesn't fit is lost like any message with QoS 0.
const (
	queueOut = 2 * maxFlight
	queueIn  = 256
)

var downKinds = wire.DownKinds

// message is one to send, or one that came.
type message struct {
	kind    wire.Kind
	qos     byte
	payload []byte
	taken   chan struct{} // if not nil: closed when the broker has it, or after goodbyeLimit
}

// session is one connection to the broker, made once and never again: the
// client's own way of reconnecting has no jitter, and sends again what was
// only the last connection's business.
type session struct {
	device string
	heard  func(wire.Kind, []byte) // of what isn't the talk's; may be nil
	id     uint64                  // random, names the connection
	made   time.Time
	client mqtt.Client
	conn   net.Conn

	in   chan message
	lost chan error    // the connection's end, once
	room chan struct{} // a token: something left out

	out    chan message
	said   chan message // for others; what is in out goes first
	ended  chan struct{}
	sender sync.WaitGroup

	mu      sync.Mutex // protects what follows
	pending []*handed
	missed  uint64 // messages that found no room in in
}

// handed is a message with QoS 1 that the broker hasn't confirmed. That says
// nothing about the fleet, but much about the link.
type handed struct {
	at    time.Time
	token mqtt.Token // nil while it is handed over
}

// dial connects, says what is to be said when the connection breaks, and
// subscribes. ctx ends it at any point; it doesn't end the session after that.
func dial(ctx context.Context, device, broker string, secure *tls.Config, heard func(wire.Kind, []byte)) (*session, error) {
	s := &session{
		device: device, heard: heard, id: rand.Uint64() | 1, made: time.Now(), // 0 is no connection's name
		in: make(chan message, queueIn), lost: make(chan error, 1), room: make(chan struct{}, 1),
		out: make(chan message, queueOut), said: make(chan message, maxSaid), ended: make(chan struct{}),
	}
	will, err := wire.Marshal(&wire.Life{Connection: s.id})
	if err != nil {
		return nil, err
	}
	o := mqtt.NewClientOptions().AddBroker("tcp://"+broker).SetClientID(device).SetProtocolVersion(4).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).
		SetKeepAlive(keepAlive).SetPingTimeout(pingLimit).SetConnectTimeout(connectLimit).SetWriteTimeout(handoverLimit).
		SetBinaryWill(wire.Topic(device, wire.Up, wire.KindLife), will, 1, false).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.lost <- err })
	var stop func() bool
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		c, err := open(ctx, broker, secure)
		if err != nil {
			return nil, err
		}
		s.conn = c
		stop = context.AfterFunc(ctx, func() { _ = c.Close() }) // the client waits for CONNACK, not for ctx
		return &guard{Conn: c}, nil
	})
	s.client = mqtt.NewClient(o)
	token := s.client.Connect()
	<-token.Done() // bounded by connectLimit and ctx
	if stop != nil {
		defer stop()
	}
	if err := token.Error(); err != nil {
		return nil, err
	}
	s.sender.Go(s.send)
	if err := s.subscribe(ctx); err != nil {
		s.close(false)
		return nil, err
	}
	return s, nil
}

// open is the network's part, with TLS unless secure is nil.
func open(ctx context.Context, broker string, secure *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", broker)
	if err != nil || secure == nil {
		return c, err
	}
	if secure.ServerName == "" {
		secure = secure.Clone()
		if secure.ServerName, _, err = net.SplitHostPort(broker); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	t := tls.Client(c, secure)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close() // the handshake's error says more
		return nil, err
	}
	return t, nil
}

// subscribe asks for what the fleet says, and looks whether it was granted: a
// refusal is no error to the client.
func (s *session) subscribe(ctx context.Context) error {
	filters, kinds := map[string]byte{}, map[string]wire.Kind{}
	for _, k := range downKinds {
		topic := wire.Topic(s.device, wire.Down, k)
		filters[topic], kinds[topic] = 0, k
	}
	token := s.client.SubscribeMultiple(filters, func(_ mqtt.Client, m mqtt.Message) { s.take(kinds[m.Topic()], m.Payload()) })
	select {
	case <-token.Done():
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(connectLimit):
		return fmt.Errorf("subscribe: %w", context.DeadlineExceeded)
	}
	if err := token.Error(); err != nil {
		select {
		case why := <-s.lost: // it says more, and comes a little later
			return why
		case <-time.After(handoverLimit):
			return fmt.Errorf("subscribe: %w", err)
		}
	}
	for topic, granted := range token.(*mqtt.SubscribeToken).Result() {
		if granted != 0 {
			return fmt.Errorf("subscribe: %w: topic %s was answered with %#x", errDeaf, topic, granted)
		}
	}
	return nil
}

// take puts a message where it belongs. The client calls it for one message
// after the other. Pieces of bundles don't go by way of the talk: acknowledgements
// would wait in the same queue behind them.
func (s *session) take(kind wire.Kind, payload []byte) {
	if kind == wire.KindBlock || kind == wire.KindCmd {
		if s.heard != nil {
			s.heard(kind, payload)
		}
		return
	}
	select {
	case s.in <- message{kind: kind, payload: payload}:
	default:
		s.mu.Lock()
		s.missed++
		s.mu.Unlock()
	}
}

var errDeaf = errors.New("the broker doesn't let this device hear the fleet")

// full reports whether nothing may be queued now; room tells when that ends.
func (s *session) full() bool { return len(s.out) == cap(s.out) }

// queue puts a message in line. Only one goroutine queues, so that what wasn't
// full stays so.
func (s *session) queue(m message) { s.out <- m }

// send hands messages to the client one after the other, because the client's
// Publish blocks while the link does.
func (s *session) send() {
	for {
		m, ok := s.next()
		if !ok {
			return
		}
		s.publish(m)
	}
}

// next waits for a message to send. There is none once the session has ended.
func (s *session) next() (m message, ok bool) {
	select {
	case <-s.ended:
		return m, false
	default:
	}
	select {
	case m = <-s.out:
		s.roomy()
		return m, true
	default:
	}
	select {
	case <-s.ended:
		return m, false
	case m = <-s.out:
		s.roomy()
	case m = <-s.said:
	}
	return m, true
}

// roomy tells that something has left out.
func (s *session) roomy() {
	select {
	case s.room <- struct{}{}:
	default: // a token is there already
	}
}

// publish offers the message to the client until it takes it.
func (s *session) publish(m message) {
	h := &handed{at: time.Now()}
	if m.qos > 0 {
		s.mu.Lock()
		s.pending = append(s.pending, h)
		s.mu.Unlock()
	}
	topic := wire.Topic(s.device, wire.Up, m.kind)
	for {
		offered := time.Now()
		token := s.client.Publish(topic, m.qos, false, m.payload)
		// The client's error for a message that found no taker in time has no
		// name; the others come at once, and nothing helps against them.
		if token.Error() != nil && s.client.IsConnectionOpen() && time.Since(offered) >= handoverLimit {
			continue
		}
		s.mu.Lock()
		h.token = token
		s.mu.Unlock()
		if m.taken != nil {
			token.WaitTimeout(goodbyeLimit)
			close(m.taken)
		}
		return
	}
}

// unconfirmed is since when the broker owes the confirmation of a message;
// zero if it owes none.
func (s *session) unconfirmed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = slices.DeleteFunc(s.pending, func(h *handed) bool {
		if h.token == nil {
			return false
		}
		select {
		case <-h.token.Done():
			return true
		default:
			return false
		}
	})
	if len(s.pending) == 0 {
		return time.Time{}
	}
	return s.pending[0].at
}

// close ends the session and all that belongs to it. Politely, it tells the
// fleet first, which takes goodbyeLimit at most; else the broker will find the
// connection cut and tell the will.
func (s *session) close(politely bool) {
	if politely {
		s.goodbye()
	}
	close(s.ended)
	_ = s.conn.Close() // else a stalled write would hold the sender
	s.sender.Wait()
	s.client.Disconnect(closeLimit)
}

// goodbye drops what waits, and leaves the broker without a will to tell.
func (s *session) goodbye() {
	b, err := wire.Marshal(&wire.Life{Connection: s.id, AgeMs: s.age()})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	for len(s.out)+len(s.said) > 0 {
		select {
		case <-s.out:
		case <-s.said:
		default:
		}
	}
	taken := make(chan struct{})
	s.queue(message{kind: wire.KindLife, qos: 1, payload: b, taken: taken})
	select {
	case <-taken:
		s.client.Disconnect(closeLimit)
	case <-time.After(goodbyeLimit):
	}
}

// age is how long the connection has been there, milliseconds by the
// monotonic clock.
func (s *session) age() uint32 { return uint32(min(time.Since(s.made).Milliseconds(), math.MaxUint32)) }
