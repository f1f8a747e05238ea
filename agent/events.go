package agent

import (
	"context"
	"sync"
)

// eventRoom is how many verdicts a slow reader may lag before it loses some.
const eventRoom = 256

// events passes told verdicts to whoever listens. Safe for concurrent use.
type events struct {
	mu   sync.Mutex // protects all below
	subs map[chan *Inspection]struct{}
	lost uint64
}

// subscribe gives the verdicts told from now on until the context ends, when
// the channel is closed. A reader that lags loses the newest, which is counted.
func (e *events) subscribe(ctx context.Context) <-chan *Inspection {
	c := make(chan *Inspection, eventRoom)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.subs == nil {
		e.subs = map[chan *Inspection]struct{}{}
	}
	e.subs[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subs, c)
		close(c)
	})
	return c
}

func (e *events) publish(i *Inspection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.subs {
		select {
		case c <- i:
		default:
			e.lost++
		}
	}
}

// missed is how many verdicts slow readers have lost.
func (e *events) missed() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost
}
