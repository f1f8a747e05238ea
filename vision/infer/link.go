package infer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
)

// outstanding is how many frames wait in a worker or on the way to it.
const outstanding = inFlight + 1

// maxPools bounds the pools that a worker has mapped; the least recently used
// one is forgotten for a new one.
const maxPools = 64

// link is the connection to one worker process.
type link struct {
	owner *Worker
	proc  *shm.Process
	began time.Time   // the process's start
	info  Info        // set before ready
	ready atomic.Bool // the model was loaded
	gone  chan struct{}
	seats chan struct{} // one value per outstanding frame

	sending sync.Mutex // keeps pool and infer requests in order

	overgrown atomic.Int64 // bytes that it had when it was killed for them

	mu       sync.Mutex // protects the fields below
	lost     bool
	relieved bool          // another process has taken over
	drained  chan struct{} // closed once it is relieved and owes nothing
	calls    map[uint64]*call
	lastID   uint64
	lastPool uint64
	pools    map[*shm.Pool]*sentPool
	progress time.Time // of the last answer, or of the frame that found the worker idle
	hung     bool      // it was killed for silence
	engine   engineReply
}

// sentPool is a pool that the worker knows; the link holds a reference.
type sentPool struct {
	id   uint64
	used uint64 // ID of the last frame from it
}

// call is a frame whose answer is awaited.
type call struct {
	began  time.Time // when the caller gave it
	done   chan struct{}
	result Result
	raw    []RawSample // if samples were asked for
	scores *ScoreMap   // if it was asked for, and the family gives one
	err    error

	tensors *tensorsCall // of a run on tensors, else nil

	shapes, floats []byte // parts of the answer that came ahead
	cut            bool   // one of them was too much
}

func newLink(proc *shm.Process, owner *Worker) *link {
	return &link{owner: owner, proc: proc, began: time.Now(), gone: make(chan struct{}), seats: make(chan struct{}, outstanding+2*max(owner.cfg.Share-1, 0)), drained: make(chan struct{}),
		calls: map[uint64]*call{}, pools: map[*shm.Pool]*sentPool{}, progress: time.Now()}
}

// infer sends the request, whose ID and pool it fills in, and gives the
// answered call.
func (l *link) infer(ctx context.Context, r *inferRequest, pool *shm.Pool) (*call, error) {
	c := &call{began: time.Now(), done: make(chan struct{})}
	select {
	case l.seats <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.gone:
		return nil, l.farewell()
	}
	if err := l.send(c, r, pool); err != nil {
		<-l.seats
		return nil, err
	}
	select {
	case <-c.done:
		return c, c.err
	case <-ctx.Done(): // the answer frees the seat
		return nil, ctx.Err()
	}
}

// send registers the call and sends the frame, after its pool if the worker
// doesn't know that yet.
func (l *link) send(c *call, r *inferRequest, pool *shm.Pool) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	id, known, evicted, err := l.register(c, pool)
	if err != nil {
		return err
	}
	conn := l.proc.Conn
	if evicted != 0 {
		err = conn.Send(request{Forget: evicted})
	}
	poolID := known
	if err == nil && known == 0 {
		poolID, err = l.introduce(pool, id)
	}
	if err == nil {
		r.ID, r.Pool = id, poolID
		err = conn.Send(request{Infer: r})
	}
	if errors.Is(err, shm.ErrTooLong) {
		l.take(id)
		return err
	} else if err != nil && l.take(id) != nil {
		l.proc.Kill() // a worker that doesn't read is none
		<-l.gone
		l.owner.lost.Add(1)
		return fmt.Errorf("%w: %w", ErrWorkerLost, err)
	} else if err != nil {
		<-c.done // lose has answered it
		return ErrWorkerLost
	}
	return nil
}

// register gives the call its ID and looks the pool up: known is its ID with
// the worker or 0; evicted is the ID of a pool that must go first, or 0.
func (l *link) register(c *call, pool *shm.Pool) (id, known, evicted uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.relieved {
		return 0, 0, 0, errRelieved
	}
	if l.lost {
		return 0, 0, 0, ErrWorkerLost
	}
	l.lastID++
	id = l.lastID
	if len(l.calls) == 0 {
		l.progress = time.Now()
	}
	l.calls[id] = c
	if p := l.pools[pool]; p != nil {
		p.used = id
		return id, p.id, 0, nil
	}
	if len(l.pools) >= maxPools {
		evicted = l.evict()
	}
	return id, 0, evicted, nil
}

// evict drops the least recently used pool; l.mu is held.
func (l *link) evict() uint64 {
	var oldest *shm.Pool
	for p, s := range l.pools {
		if oldest == nil || s.used < l.pools[oldest].used {
			oldest = p
		}
	}
	id := l.pools[oldest].id
	delete(l.pools, oldest)
	oldest.Release()
	return id
}

// introduce sends a pool's memory to the worker.
func (l *link) introduce(pool *shm.Pool, frame uint64) (uint64, error) {
	l.mu.Lock()
	if l.lost {
		l.mu.Unlock()
		return 0, ErrWorkerLost
	}
	l.lastPool++
	id := l.lastPool
	pool.Retain()
	l.pools[pool] = &sentPool{id: id, used: frame}
	l.mu.Unlock()
	info := pool.Info
	info.ID = id
	return id, l.proc.Conn.Send(request{Pool: &info}, pool.FD())
}

func (l *link) forget(pool *shm.Pool) {
	l.sending.Lock()
	defer l.sending.Unlock()
	l.mu.Lock()
	p := l.pools[pool]
	delete(l.pools, pool)
	l.mu.Unlock()
	if p == nil {
		return
	}
	_ = l.proc.Conn.Send(request{Forget: p.id}) // a worker that is gone has forgotten it
	pool.Release()
}

// take removes a call, nil if it was answered already.
func (l *link) take(id uint64) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[id]
	if c != nil {
		delete(l.calls, id)
		l.drainedLocked()
	}
	l.progress = time.Now()
	return c
}

// errRelieved means that a frame came for a process from which another one has taken
// over: it is that one's.
var errRelieved = fmt.Errorf("%w: another one has taken over", ErrWorkerLost)

// farewell is why a process that has gone took a frame no more.
func (l *link) farewell() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.relieved {
		return errRelieved
	}
	return ErrWorkerLost
}

// retire takes no frame any more; what it gives is closed when all were answered.
func (l *link) retire() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.relieved = true
	l.drainedLocked()
	return l.drained
}

func (l *link) drainedLocked() {
	if !l.relieved || len(l.calls) > 0 {
		return
	}
	select {
	case <-l.drained:
	default:
		close(l.drained)
	}
}

// collect keeps a part of an answer until the rest comes.
func (l *link) collect(p *partReply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress = time.Now()
	c := l.calls[p.ID]
	if c == nil {
		return // nobody waits
	}
	if c.cut = c.cut || len(c.shapes)+len(c.floats)+len(p.Shapes)+len(p.Scores) > maxParts; c.cut {
		c.shapes, c.floats = nil, nil // a shorter part that follows mustn't close the gap
		return
	}
	c.shapes, c.floats = append(c.shapes, p.Shapes...), append(c.floats, p.Scores...)
}

// deliver hands an answer to its caller.
func (l *link) deliver(r *resultReply) {
	c := l.take(r.ID)
	if c == nil {
		return
	}
	if c.tensors != nil {
		l.deliverTensors(c, r)
		return
	}
	w := l.owner
	if r.Err != "" {
		c.err = fmt.Errorf("inspect a frame: %s", r.Err)
		if r.TimedOut {
			w.timedOut.Add(1)
			w.stopped.Add(1)
			c.err = fmt.Errorf("inspect a frame: %w: stopped after %v", ErrTimeLimit, w.cfg.Limit)
		}
	} else {
		c.result = Result{Dropped: r.Dropped, Score: r.Score, Fill: r.Fill, Run: r.Run, Decode: r.Decode, Model: l.info.Digest}
		c.result.Detections, c.err = unpackDetections(r.Boxes, w.cfg.Spec.Labels)
		if c.err == nil && c.cut {
			c.err = fmt.Errorf("inspect a frame: the masks or the map take more than %d MiB", maxParts>>20)
		}
		if c.err == nil {
			c.err = unpackShapes(c.shapes, c.result.Detections)
		}
		if c.err == nil && r.Map != nil {
			c.scores, c.err = unpackMap(r.Map, c.floats)
		}
		if c.err == nil && r.Raw != nil {
			c.raw, c.err = unpackSamples(r.Raw)
		}
	}
	w.dropped.Add(uint64(r.Dropped))
	if c.err != nil {
		w.failed.Add(1)
	} else {
		w.inferred.Add(1)
		w.timed.add(time.Since(c.began), r.Fill, r.Run, r.Decode)
	}
	close(c.done)
	<-l.seats
}

// tookTooLong tells that the process was killed because it didn't load the model.
func (l *link) tookTooLong() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hung && !l.ready.Load()
}

// lose answers all calls: the worker is gone. It drops the pools.
func (l *link) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = true
	close(l.gone)
	why := ErrWorkerLost
	if l.hung {
		why = fmt.Errorf("inspect a frame: %w: the worker was silent and was killed", ErrTimeLimit)
	}
	for id, c := range l.calls {
		delete(l.calls, id)
		c.err = why
		l.owner.lost.Add(1)
		close(c.done)
	}
	for p := range l.pools {
		delete(l.pools, p)
		p.Release()
	}
}

// watch ends the connection when ctx ends, and kills a worker that owes an
// answer, or its model, for too long. It returns when the link is lost.
func (l *link) watch(ctx context.Context) {
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-l.gone:
			return
		case <-ctx.Done():
			l.proc.Conn.Close()
			<-l.gone
			return
		case <-look.C:
			silent, wait := l.silent(time.Now())
			if silent {
				l.owner.timedOut.Add(1)
				l.proc.Kill()
			}
			look.Reset(wait)
		}
	}
}

// silent reports, once, that the worker should have answered by now, or how long it
// can't be before it should have.
func (l *link) silent(now time.Time) (silent bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait = patient(patience(l.owner.cfg.Limit), !l.owner.serves.Load())
	limit := wait
	switch {
	case l.hung:
		return false, wait
	case !l.ready.Load():
		limit = l.loadTime()
	case len(l.calls) == 0:
		return false, wait
	}
	left := limit - now.Sub(l.progress)
	if left <= 0 {
		l.hung = true
		return true, wait
	}
	return false, min(left, wait) // it may be ready before, and owe an answer from then on
}
