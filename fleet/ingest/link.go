package ingest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/sync/wire"
)

const (
	connectTimeout = 10 * time.Second
	writeTimeout   = 5 * time.Second
	keepAlive      = 20 * time.Second
	firstRetry     = 500 * time.Millisecond
	lastRetry      = 20 * time.Second
	goodFor        = time.Minute // a connection that lasted so long begins the retries anew
	refusedFilter  = 0x80        // in a SUBACK
	disconnectMs   = 250
)

// link keeps a connection to the broker. Each one is a client of its own: a
// denied subscription, which is no error to paho, then ends it as any other
// fault does, and nothing of it outlives Run.
func (in *Ingest) link(ctx context.Context) error {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		began := time.Now()
		err := in.connection(ctx)
		if ctx.Err() != nil {
			return nil
		}
		in.cfg.Log.Warn("no connection to the broker", "broker", in.cfg.Broker, "err", err)
		if time.Since(began) > goodFor {
			retry = firstRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rand.N(retry) + retry/8):
		}
	}
}

// connection lasts until it is lost or ctx ends.
func (in *Ingest) connection(ctx context.Context) error {
	lost := make(chan error, 1)
	o, err := in.options()
	if err != nil {
		return err
	}
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err })
	client := mqtt.NewClient(o)
	defer client.Disconnect(disconnectMs)
	if err := wait(ctx, client.Connect(), 2*connectTimeout); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := in.subscribe(ctx, client); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	in.cfg.Log.Info("connected to the broker", "broker", in.cfg.Broker)
	in.client.Store(&client)
	defer in.client.Store(nil)
	select {
	case <-ctx.Done():
		return nil
	case err := <-lost:
		return err
	}
}

func (in *Ingest) options() (*mqtt.ClientOptions, error) {
	scheme, name := "tcp://", "sightline-ingest"
	if in.cfg.TLS != nil {
		scheme = "ssl://"
		var err error
		if name, err = certificateName(in.cfg.TLS); err != nil {
			return nil, err
		}
	}
	o := mqtt.NewClientOptions().AddBroker(scheme + in.cfg.Broker)
	// The certificate's name and more: so may a service, and several of them,
	// and the one before this that the broker hasn't missed yet, don't push
	// each other out.
	o.SetClientID(fmt.Sprintf("%s-%016x", name, rand.Uint64()))
	o.SetTLSConfig(in.cfg.TLS).SetProtocolVersion(4).SetCleanSession(true)
	o.SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(connectTimeout).SetDialer(&net.Dialer{Timeout: connectTimeout})
	o.SetWriteTimeout(writeTimeout).SetKeepAlive(keepAlive).SetPingTimeout(keepAlive / 2)
	return o, nil
}

// certificateName is the client certificate's, to which brokers bind the
// client id.
func certificateName(c *tls.Config) (string, error) {
	var cert tls.Certificate
	switch {
	case c.GetClientCertificate != nil:
		got, err := c.GetClientCertificate(&tls.CertificateRequestInfo{Version: tls.VersionTLS13})
		if err != nil {
			return "", fmt.Errorf("client certificate: %w", err)
		}
		cert = *got
	case len(c.Certificates) > 0:
		cert = c.Certificates[0]
	}
	if len(cert.Certificate) == 0 {
		return "", errors.New("client certificate: there is none")
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return "", fmt.Errorf("client certificate: %w", err)
	}
	return leaf.Subject.CommonName, nil
}

// subscribe asks for what all devices send, with QoS 0: a message that is lost
// on its way is sent again because no acknowledgement comes, so another layer
// that keeps and repeats messages would only cost the broker (the embedded one
// a write for each) and make the backlog of a slow ingester older.
func (in *Ingest) subscribe(ctx context.Context, client mqtt.Client) error {
	filters := map[string]byte{}
	for _, kind := range wire.UpKinds {
		filters[wire.AllUp(kind)] = 0
	}
	token := client.SubscribeMultiple(filters, in.arrived)
	if err := wait(ctx, token, connectTimeout); err != nil {
		return err
	}
	for filter, qos := range token.(*mqtt.SubscribeToken).Result() {
		if qos >= refusedFilter {
			return fmt.Errorf("the broker denies %s: let this client, named as its certificate, read it", filter)
		}
	}
	return nil
}

// arrived is called on paho's own goroutine, in order: it only queues.
func (in *Ingest) arrived(_ mqtt.Client, m mqtt.Message) {
	device, way, kind, err := wire.ParseTopic(m.Topic())
	if err != nil || way != wire.Up {
		in.count.unreadable.Add(1)
		return
	}
	q := in.queue
	if heard(kind) {
		if len(m.Payload()) > maxHeard {
			in.count.unreadable.Add(1)
			return
		}
		q = in.heard
	}
	q.put(message{device: device, kind: kind, body: m.Payload(), at: in.cfg.Store.Now()})
}

func wait(ctx context.Context, t mqtt.Token, long time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(long):
		return errors.New("the broker doesn't answer")
	case <-t.Done():
		return t.Error()
	}
}
