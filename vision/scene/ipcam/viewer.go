package ipcam

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// viewer is one RTSP connection.
type viewer struct {
	conn net.Conn
	set  bool   // SETUP was done
	udp  *udpTo // where media go; nil: over conn

	write sync.Mutex // one message at a time on conn

	from  *relay      // nil unless it plays
	queue chan packed // from.mu protects its closing
	lost  bool        // pictures were missed: only a key picture is of use; from.mu
}

// reply answers a request.
func (v *viewer) reply(r request, status, header, body string) error {
	if body != "" {
		header += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return v.send([]byte("RTSP/1.0 " + status + "\r\nCSeq: " + r.header.Get("CSeq") + "\r\n" + header + "\r\n" + body))
}

func (v *viewer) send(b []byte) error {
	v.write.Lock()
	defer v.write.Unlock()
	if err := v.conn.SetWriteDeadline(time.Now().Add(slowViewer)); err != nil {
		return err
	}
	_, err := v.conn.Write(b)
	return err
}

// media sends a picture the way that was set up.
func (v *viewer) media(p packed) error {
	if v.udp == nil {
		return v.send(p.bytes)
	}
	v.udp.send(p)
	return nil
}

// join lets the viewer play from the next key picture on, until ctx ends or it
// leaves.
func (v *viewer) join(ctx context.Context, r *relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.viewers[v] || r.over {
		return
	}
	burst := r.burstLocked()
	v.from, v.queue, v.lost = r, make(chan packed, queued+len(burst)), true
	r.viewers[v] = true
	for _, p := range burst {
		v.offerLocked(p)
	}
	select {
	case <-r.came:
	default:
		close(r.came)
	}
	queue := v.queue
	r.senders.Go(func() {
		for p := range queue {
			r.control.hold(ctx)
			if v.media(p) != nil {
				v.conn.Close() // its talk ends, and with it the viewer
				return
			}
		}
	})
}

// leave ends playing.
func (v *viewer) leave() {
	if v.from == nil {
		return
	}
	v.from.mu.Lock()
	defer v.from.mu.Unlock()
	if v.from.viewers[v] {
		delete(v.from.viewers, v)
		close(v.queue)
	}
}

// offerLocked queues a picture; the relay's mutex is held.
func (v *viewer) offerLocked(p packed) {
	if v.lost && !p.key {
		return
	}
	select {
	case v.queue <- p:
		v.lost = false
	default:
		v.lost = true
	}
}
