package capture

import (
	"context"
	"io"
	"sync"
	"time"
)

// rawPump takes frames of one size off a pipe as they come and keeps only the
// newest whole one. It has three pieces of memory: one that is filled, one that
// waits, one that is being used.
type rawPump struct {
	size int
	wake chan struct{} // a frame waits, or the pipe has ended; room for one
	done chan struct{} // closed when run is over

	mu     sync.Mutex // protects what follows
	newest rawFrame   // without pix: none waits
	spare  [][]byte
	got    int   // bytes of the frame that is being read
	err    error // why it ended
}

// rawFrame is one frame as it was written.
type rawFrame struct {
	pix     []byte
	mono    int64  // when its first byte came, ns
	skipped uint64 // frames before it that nobody took
}

func newRawPump(size int) *rawPump {
	return &rawPump{size: size, wake: make(chan struct{}, 1), done: make(chan struct{}), spare: [][]byte{nil, nil, nil}}
}

// run reads until the pipe ends.
func (p *rawPump) run(from io.Reader) {
	defer close(p.done)
	for {
		f := rawFrame{pix: p.memory()}
		for n := 0; n < p.size; {
			k, err := from.Read(f.pix[n:])
			if n == 0 && k > 0 {
				f.mono = monotonic()
			}
			n += k
			p.mu.Lock()
			p.got = n
			if err != nil && n < p.size {
				p.err = err
				p.mu.Unlock()
				p.poke()
				return
			}
			p.mu.Unlock()
		}
		p.mu.Lock()
		if p.newest.pix != nil {
			f.skipped = p.newest.skipped + 1
			p.spare = append(p.spare, p.newest.pix)
		}
		p.newest, p.got = f, 0
		p.mu.Unlock()
		p.poke()
	}
}

// memory is a piece that nobody uses. There always is one.
func (p *rawPump) memory() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.spare) - 1
	mem := p.spare[last]
	p.spare = p.spare[:last]
	if mem == nil {
		mem = make([]byte, p.size)
	}
	return mem
}

func (p *rawPump) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take waits for a frame. Its memory must be given back.
func (p *rawPump) take(ctx context.Context, wait time.Duration) (rawFrame, error) {
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		p.mu.Lock()
		f, err := p.newest, p.err
		p.newest = rawFrame{}
		p.mu.Unlock()
		if f.pix != nil {
			if err != nil {
				p.poke() // the end is still to be told
			}
			return f, nil
		}
		if err != nil {
			return rawFrame{}, err
		}
		select {
		case <-ctx.Done():
			return rawFrame{}, ctx.Err()
		case <-t.C:
			return rawFrame{}, errQuiet
		case <-p.wake:
		}
	}
}

func (p *rawPump) giveBack(mem []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare = append(p.spare, mem)
}

// partly is how many bytes of how many have come of the frame that isn't whole.
func (p *rawPump) partly() (got, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got, p.size
}

// drain waits for run to end, once what it reads has been closed.
func (p *rawPump) drain() { <-p.done }
