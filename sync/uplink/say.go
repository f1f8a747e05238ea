package uplink

import "github.com/sightline-edge/sightline/sync/wire"

// Limits of what waits to be said for others.
const (
	maxSaid      = 64
	maxSaidBytes = 256 << 10
)

// others is what the uplink carries for the rest of the program. The uplink's
// mu protects it.
type others struct {
	session uint64        // the connection on which the fleet has answered; 0 if there is none
	turned  chan struct{} // closed when session changes
	said    []message     // waits for the talk to queue it
	bytes   int           // of said
}

// Say sends a message on the connection that there is, and reports whether it
// was taken: the fleet must have answered on it, and there must be room. It
// never blocks. Batches of records go first. With QoS 1 the broker confirms
// the message, but that it was taken doesn't mean that it arrives: what must
// arrive has to be said again.
func (u *Uplink) Say(kind wire.Kind, qos byte, payload []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := &u.others
	if o.session == 0 || len(o.said) >= maxSaid || o.bytes+len(payload) > maxSaidBytes {
		return false
	}
	o.said = append(o.said, message{kind: kind, qos: qos, payload: payload})
	o.bytes += len(payload)
	select {
	case u.wake <- struct{}{}:
	default: // a token is there already
	}
	return true
}

// Session names the connection on which the fleet has answered, and is 0 while
// there is none or the fleet refuses this device. What was said on another one
// may be lost. changed is closed when it is no longer so.
func (u *Uplink) Session() (id uint64, changed <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.others.session, u.others.turned
}

// serve makes id the session for others; what waited for another one is gone.
func (u *Uplink) serve(id uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := &u.others
	if o.session == id {
		return
	}
	close(o.turned)
	*o = others{session: id, turned: make(chan struct{})}
}

// pass queues what others say, as far as there is room.
func (t *talk) pass() {
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	o := &t.u.others
	for len(o.said) > 0 && !t.s.full() {
		t.s.queue(o.said[0]) // doesn't block: it isn't full
		o.bytes -= len(o.said[0].payload)
		o.said = o.said[1:]
	}
}
