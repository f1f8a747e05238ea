package uplink

import "github.com/sightline-edge/sightline/sync/wire"

// maxSaid is how many messages may wait to be said for others.
const maxSaid = 16

// others is what the uplink does for the rest of the program. The uplink's mu
// protects it.
type others struct {
	session *session      // on which the fleet has answered; nil if there is none
	turned  chan struct{} // closed when session changes
}

// Say sends a message on the connection that there is, and reports whether it
// was taken: the fleet must have answered on it, and there must be room. It
// never blocks. Batches of records go first. With QoS 1 the broker confirms
// the message, but that it was taken doesn't mean that it arrives: what must
// arrive has to be said again.
func (u *Uplink) Say(kind wire.Kind, qos byte, payload []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.others.session == nil {
		return false
	}
	select {
	case u.others.session.said <- message{kind: kind, qos: qos, payload: payload}:
		return true
	default:
		return false
	}
}

// Session names the connection on which the fleet has answered, and is 0 while
// there is none or the fleet refuses this device. What was said on another one
// may be lost. changed is closed when it is no longer so.
func (u *Uplink) Session() (id uint64, changed <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s := u.others.session; s != nil {
		id = s.id
	}
	return id, u.others.turned
}

// serve makes s the session for others; nil for none.
func (u *Uplink) serve(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.others.session == s {
		return
	}
	close(u.others.turned)
	u.others = others{session: s, turned: make(chan struct{})}
}
