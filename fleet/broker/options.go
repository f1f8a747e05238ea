package broker

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// Bytes of memory for what waits and what is remembered, shared out by
	// streams. Nothing is stored on disk.
	maxMemory = 100 << 20
	maxStore  = 1 << 20
	// A subscription with QoS 1 counts twice, one that ends with # twice again.
	maxSubscriptions = 1024
)

// mqttRules are options that NATS takes from its configuration's text alone.
// Nothing of ours is QoS 2, and its messages are held on disk for their sender.
const mqttRules = "mqtt { reject_qos2_publish: true, downgrade_qos2_subscribe: true }"

func (b *Broker) options(host string, port int) (*server.Options, error) {
	store, err := emptyStore(b.cfg.Dir)
	if err != nil {
		return nil, err
	}
	o := &server.Options{}
	if err := o.ProcessConfigString(mqttRules); err != nil {
		return nil, fmt.Errorf("the broker's MQTT rules: %w", err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o.ServerName = "sightline-fleet"
	o.DontListen = true // no port for NATS's own protocol
	o.NoSigs = true     // signals are the program's
	o.DisableJetStreamBanner = true

	o.MaxConn = b.cfg.Max
	o.MaxSubs = maxSubscriptions
	o.MaxPayload = MaxPayload
	o.MaxPending = maxPending
	o.WriteDeadline = writeDeadline
	o.MaxClosedClients = 64 // remembered for monitoring, which nobody asks for

	o.JetStream = true
	o.StoreDir = store
	o.JetStreamMaxMemory = maxMemory
	o.JetStreamMaxStore = maxStore
	o.JetStreamLimits.DefaultMaxConsumers = -1 // else QoS 1 subscriptions end at a number

	o.CustomClientAuthentication = b.gate
	o.MQTT.Host = host
	o.MQTT.Port = port
	o.MQTT.TLSConfig = b.gate.config(b.cfg.TLS)
	o.MQTT.TLSTimeout = quietTime.Seconds()
	o.MQTT.AuthTimeout = quietTime.Seconds()
	o.MQTT.AckWait = 30 * time.Second
	return o, nil
}

// config is the server's identity with the rules for clients: TLS 1.3, and a
// certificate that somebody here knows.
func (g *gate) config(identity *tls.Config) *tls.Config {
	c := g.rules(identity, new(net.TCPAddr))
	inner := identity.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		chosen := identity
		if inner != nil {
			other, err := inner(hello)
			if err != nil {
				return nil, err
			}
			if other != nil {
				chosen = other
			}
		}
		return g.rules(chosen, hello.Conn.RemoteAddr()), nil
	}
	return c
}

// rules are for one connection, so that its address can be told.
func (g *gate) rules(identity *tls.Config, from net.Addr) *tls.Config {
	c := identity.Clone()
	c.GetConfigForClient = nil
	c.MinVersion = tls.VersionTLS13
	c.NextProtos = nil
	// Who decides, by the fleet's clock; the standard checks would use the
	// machine's and know nothing of revocation.
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyPeerCertificate = nil
	c.VerifyConnection = func(state tls.ConnectionState) error { return g.handshake(from, state) }
	// A ticket holds the certificate, so a resumed session would cost as many
	// bytes as it saves.
	c.SessionTicketsDisabled = true
	return c
}
