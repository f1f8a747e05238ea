package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sightline-edge/sightline/sync/wire"
)

// gate decides who comes in and what they may do. It is asked in the handshake
// and, because the certificate may have been revoked since, again with CONNECT.
type gate struct {
	who func(certs []*x509.Certificate) (name string, service bool, err error)
	// clientID is the id that a connection said in CONNECT. NATS keeps it from
	// authenticators but shows it to monitors.
	clientID func(connection uint64) string
	refused  func(from, name, id string, err error)
	secret   string        // of the broker's own connection inside this process
	ready    chan struct{} // closed when clients may come, or the broker ends
}

// handshake is the end of the TLS handshake: an error there is the client's
// "bad certificate".
func (g *gate) handshake(from net.Addr, state tls.ConnectionState) error {
	<-g.ready
	_, _, err := g.who(state.PeerCertificates)
	if err != nil {
		name := "" // as it says itself
		if len(state.PeerCertificates) > 0 {
			name = state.PeerCertificates[0].Subject.CommonName
			name = name[:min(len(name), 64)]
		}
		g.refused(from.String(), name, "", err)
	}
	return err
}

// Check is NATS's question whether a client may connect.
func (g *gate) Check(c server.ClientAuthentication) bool {
	name, id, err := g.admit(c)
	if err != nil {
		from := ""
		if a := c.RemoteAddress(); a != nil {
			from = a.String()
		}
		g.refused(from, name, id, err)
	}
	return err == nil
}

func (g *gate) admit(c server.ClientAuthentication) (name, id string, err error) {
	state := c.GetTLSConnectionState()
	if state == nil && c.GetOpts().Token == g.secret {
		c.RegisterUser(&server.User{Username: "broker"}) // may do all
		return "", "", nil
	}
	if state == nil || len(state.PeerCertificates) == 0 {
		return "", "", errors.New("it shows no certificate")
	}
	name, service, err := g.who(state.PeerCertificates)
	if err != nil {
		return "", "", err
	}
	id = g.clientID(c.GetID())
	if id != name && !(service && strings.HasPrefix(id, name+"-")) {
		return name, id, fmt.Errorf("its client id %q isn't its certificate's name %q", id, name)
	}
	c.RegisterUser(&server.User{
		Username:    name,
		Permissions: permissions(name, service),
		// A connection doesn't outlive its certificate.
		ConnectionDeadline: state.PeerCertificates[0].NotAfter,
	})
	return name, id, nil
}

// permissions are a client's topics, as NATS subjects: dots for slashes.
func permissions(name string, service bool) *server.Permissions {
	subjects := func(topics ...string) *server.SubjectPermission {
		p := &server.SubjectPermission{Allow: []string{}}
		for _, t := range topics {
			p.Allow = append(p.Allow, strings.ReplaceAll(t, "/", "."))
		}
		return p
	}
	if service {
		all := subjects(root, root+"/>") // "root/#" is both
		return &server.Permissions{Publish: all, Subscribe: all}
	}
	// Up are the kinds that there are and no wildcard: the broker remembers
	// each topic with a retained message, and a device mustn't invent them.
	up := make([]string, 0, len(wire.UpKinds))
	for _, kind := range wire.UpKinds {
		up = append(up, wire.Topic(name, wire.Up, kind))
	}
	return &server.Permissions{Publish: subjects(up...), Subscribe: subjects(wire.Topic(name, wire.Down, "*"))}
}

// root is above all topics.
const root = "sightline/v1"
