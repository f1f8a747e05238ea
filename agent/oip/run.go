package oip

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// infer answers a request to infer.
func (h *Handler) infer(w http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err != nil {
		h.count(r, err)
		return err
	}
	t := times{began: time.Now()}
	err = h.inferWith(w, r, m, &t)
	h.book.add(key{m.Name, m.Version}, &t, codeOf(err))
	if err == errLeft {
		return nil
	}
	return err
}

func (h *Handler) inferWith(w http.ResponseWriter, r *http.Request, m *served, t *times) error {
	select {
	case h.seats <- struct{}{}:
		defer func() { <-h.seats }()
	default:
		return busy("%d requests are under way or wait already: ask again", cap(h.seats))
	}
	q := &query{arena: h.arena(m), room: &h.room}
	defer func() { h.giveBack(m, q.arena) }()
	defer q.close()
	if q.reserve(q.held()) != nil {
		q.arena.Release() // there may be room for less
	}
	if err := q.read(w, r, m, h.cfg.Limits.Body); err != nil {
		return err
	}
	t.read = time.Now()
	limit := q.limit(h.cfg.Limits.Wait)
	web.Allow(w, t.began.Add(limit))
	ran, err := h.run(r.Context(), m, q, t, limit)
	if err != nil {
		return err
	}
	if err := q.keep(ran.Outputs); err != nil {
		return err
	}
	return q.answer(w, m, ran.Outputs, t)
}

// maxTimeout is the longest time-out of a request, for which it may keep its seat.
const maxTimeout = time.Minute

// limit is how long the request may wait; usual is for one that doesn't say.
func (q *query) limit(usual time.Duration) time.Duration {
	p := q.Parameters.Timeout
	if p == nil || *p == 0 {
		return usual
	}
	return time.Duration(min(*p, maxTimeout.Microseconds())) * time.Microsecond
}

// keep takes room for the outputs too, until they are sent: a client may be slow.
func (q *query) keep(outputs []infer.Laid) error {
	total := int64(0)
	for _, list := range [][]infer.Laid{q.inputs, outputs} {
		for _, t := range list {
			total += int64(t.Size)
		}
	}
	if total > q.room.all {
		return bad("the inputs and outputs of this request take %d bytes, at most %d are possible", total, q.room.all)
	}
	return q.reserve(min(q.held(), q.room.all))
}

// errWanted is why a run was stopped for somebody more important.
var errWanted = errors.New("somebody more important waits")

// maxYields is how often a run is begun again after it was stopped for others.
const maxYields = 20

// run runs the model when it is the request's turn, within limit of its arrival.
func (h *Handler) run(ctx context.Context, m *served, q *query, t *times, limit time.Duration) (infer.Ran, error) {
	latest := t.began.Add(limit)
	var priority uint64
	if p := q.Parameters.Priority; p != nil {
		priority = *p
	}
	stream := m.stream(priority)
	ask := sched.Ask{
		Model: m.Cost, Deadline: latest, Yields: m.Yields,
		Newest: func() (time.Time, bool) { return t.began, true },
	}
	for range maxYields {
		turn, err := stream.Take(ctx, ask)
		if err != nil {
			return infer.Ran{}, q.refused(err, m, limit, latest)
		}
		began := time.Now()
		ran, err := runTurn(ctx, m, q, turn, time.Until(latest))
		turn.Done(err == nil)
		t.wait, t.run = began.Sub(t.read), ran.Run
		switch {
		case err == nil:
			return ran, nil
		case errors.Is(err, errWanted):
			continue
		}
		return ran, q.refused(err, m, limit, latest)
	}
	return infer.Ran{}, busy("model %s was needed by the stations each of the %d times that the request was begun: ask again later", m.Name, maxYields)
}

// runTurn runs the model once, and stops when the turn is wanted by others.
func runTurn(ctx context.Context, m *served, q *query, turn *sched.Turn, limit time.Duration) (infer.Ran, error) {
	wanted := turn.Wanted()
	if wanted == nil {
		return m.Worker.RunTensors(ctx, q.arena, q.inputs, max(limit, 1))
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-wanted:
			stop(errWanted)
		case <-ended:
		}
	}()
	ran, err := m.Worker.RunTensors(ctx, q.arena, q.inputs, max(limit, 1))
	if err != nil && context.Cause(ctx) == errWanted {
		err = errWanted
	}
	return ran, err
}

// refused is what a client is told of a run that gave nothing by latest.
func (q *query) refused(err error, m *served, limit time.Duration, latest time.Time) error {
	late := fmt.Sprintf("within the %v that a request waits", limit)
	if p := q.Parameters.Timeout; p != nil && *p == limit.Microseconds() {
		late = fmt.Sprintf("within its timeout of %d µs", *p)
	}
	switch {
	case errors.Is(err, infer.ErrTimeLimit) && time.Now().Before(latest):
		return fault{http.StatusGatewayTimeout, fmt.Errorf("model %s: %w, which is what a run may take here", m.Name, err)}
	case errors.Is(err, sched.ErrLate), errors.Is(err, infer.ErrTimeLimit):
		return fault{http.StatusGatewayTimeout, fmt.Errorf("model %s can't answer %s: half of its runs take %v and more", m.Name, late, m.Cost.P50().Round(time.Microsecond))}
	case errors.Is(err, sched.ErrLeft), errors.Is(err, infer.ErrStopped):
		return busy("model %s was just replaced: ask again", m.Name)
	case errors.Is(err, infer.ErrWorkerLost):
		return fault{http.StatusInternalServerError, fmt.Errorf("model %s ended its process with this request; it is started again", m.Name)}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault{statusGone, errors.New("the client has gone")}
	}
	return bad("model %s: %w", m.Name, err)
}

// statusGone is the code under which requests are counted whose clients left; nobody
// is told of it.
const statusGone = 499
