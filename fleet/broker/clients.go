package broker

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// clientID is the MQTT client id of a connection, "" if it has gone.
func (b *Broker) clientID(connection uint64) string {
	z, err := b.srv.Connz(&server.ConnzOptions{CID: connection})
	if err != nil || len(z.Conns) != 1 {
		return ""
	}
	return z.Conns[0].MQTTClient
}

// connections are all clients that have been let in.
func (b *Broker) connections() []*server.ConnInfo {
	z, err := b.srv.Connz(&server.ConnzOptions{Username: true, Limit: b.cfg.Max})
	if err != nil {
		panic("BUG: connections of the broker: " + err.Error()) // for wrong options alone
	}
	return z.Conns
}

// Cut ends the connections of a device, or of a service, now. Whether it may
// come back is for Who to say.
func (b *Broker) Cut(name string) {
	for _, c := range b.connections() {
		// One that is just connecting has said its id and has no name yet.
		if c.AuthorizedUser == name || c.MQTTClient == name {
			// An error says that it has gone by itself.
			_ = b.srv.DisconnectClientByID(c.Cid)
		}
	}
}

// Connected says which names are connected, each since when.
func (b *Broker) Connected() map[string]time.Time {
	since := map[string]time.Time{}
	for _, c := range b.connections() {
		if c.AuthorizedUser != "" && since[c.AuthorizedUser].Before(c.Start) {
			since[c.AuthorizedUser] = c.Start
		}
	}
	return since
}
