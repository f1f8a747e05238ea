package cable

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

// segment is what a slow cable takes at once, as a network does, and queue how
// many wait at its beginning before it takes no more.
const (
	segment = 1448
	queue   = 512
)

// packet is on its way; no bytes is the sender's end.
type packet struct {
	b  []byte
	at time.Time // when it arrives
}

// drag passes one direction with a rate and a delay.
func (c *Cable) drag(ctx context.Context, from, to *net.TCPConn, rate int, delay time.Duration) error {
	way := make(chan packet, queue+int(delay.Seconds()*float64(rate))/segment)
	var g errgroup.Group
	g.Go(func() error {
		defer close(way)
		free := time.Now() // when the line is
		for {
			b := make([]byte, segment)
			n, err := from.Read(b)
			if now := time.Now(); free.Before(now) {
				free = now
			}
			if n > 0 {
				if rate > 0 {
					free = free.Add(time.Duration(n) * time.Second / time.Duration(rate))
				}
				way <- packet{b[:n], free.Add(delay)}
			}
			if errors.Is(err, io.EOF) {
				way <- packet{at: free.Add(delay)}
			}
			if err != nil {
				return err
			}
		}
	})
	g.Go(func() error {
		ended := false
		for p := range way {
			if !ended {
				ended = c.deliver(ctx, to, p) != nil
			}
			if ended { // let the reader end, too
				_ = from.Close()
			}
		}
		return nil
	})
	err := g.Wait()
	if !errors.Is(err, io.EOF) {
		_ = to.SetLinger(0)
		_ = to.Close()
	}
	return err
}

// deliver waits for the packet's time.
func (c *Cable) deliver(ctx context.Context, to *net.TCPConn, p packet) error {
	select {
	case <-time.After(time.Until(p.at)):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.wait(ctx); err != nil {
		return err
	}
	if p.b == nil {
		return to.CloseWrite()
	}
	c.mu.Lock()
	c.passed += uint64(len(p.b)) // before the other end can know
	c.mu.Unlock()
	_, err := to.Write(p.b)
	return err
}
