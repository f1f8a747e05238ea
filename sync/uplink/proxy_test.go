package uplink

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy stands between a device and its broker and does what networks do.
type proxy struct {
	t      testing.TB
	target string
	l      net.Listener
	addr   string

	mu    sync.Mutex
	pairs map[*pipes]bool
	deaf  bool // takes connections and passes nothing
	made  int
}

// pipes are the two halves of one connection.
type pipes struct {
	device, broker net.Conn
	stuck          chan struct{} // closed: nothing passes any more, and nobody is told
	slow           atomic.Bool   // a byte a second passes
	quota          chan int      // so many bytes more to the broker, then the end
	once           sync.Once
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, target: target, l: l, addr: l.Addr().String(), pairs: map[*pipes]bool{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		defer all.Wait()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		p.cut("rst")
		<-done
	})
	return p
}

func (p *proxy) serve(c net.Conn) {
	b, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = c.Close()
		return
	}
	pair := &pipes{device: c, broker: b, stuck: make(chan struct{}), quota: make(chan int, 1)}
	p.mu.Lock()
	p.pairs[pair] = true
	p.made++
	if p.deaf {
		pair.stick()
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { pair.copy(b, c, true) })
	both.Go(func() { pair.copy(c, b, false) })
	both.Wait()
	p.mu.Lock()
	delete(p.pairs, pair)
	p.mu.Unlock()
}

func (p *pipes) stick() { p.once.Do(func() { close(p.stuck) }) }

func (p *pipes) copy(dst, src net.Conn, up bool) {
	defer func() {
		_ = dst.Close()
		_ = src.Close()
	}()
	b, left := make([]byte, 32<<10), -1
	for {
		n, err := src.Read(b)
		if up {
			select {
			case left = <-p.quota:
			default:
			}
		}
		if left >= 0 {
			n = min(n, left)
			left -= n
		}
		select {
		case <-p.stuck:
			_, _ = io.Copy(io.Discard, src) // until somebody gives up
			return
		default:
		}
		out := b[:n]
		for p.slow.Load() && len(out) > 0 {
			<-time.After(time.Second)
			if _, err := dst.Write(out[:1]); err != nil {
				return
			}
			out = out[1:]
		}
		if _, err := dst.Write(out); err != nil {
			return
		}
		if err != nil || left == 0 {
			return
		}
	}
}

// cut ends all connections: with a reset, in order (end), by passing nothing
// any more (half) or a byte a second (drip), or in the middle of a packet (short).
func (p *proxy) cut(how string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pair := range p.pairs {
		switch how {
		case "rst":
			_ = pair.device.(*net.TCPConn).SetLinger(0)
			_ = pair.broker.(*net.TCPConn).SetLinger(0)
			_ = pair.device.Close()
			_ = pair.broker.Close()
		case "end":
			_ = pair.device.Close()
			_ = pair.broker.Close()
		case "half":
			pair.stick()
		case "drip":
			pair.slow.Store(true)
		case "short":
			select {
			case pair.quota <- 700:
			default:
			}
		}
	}
}

func (p *proxy) set(deaf bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = deaf
}

func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}
