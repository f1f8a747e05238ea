package oip

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

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
	m.stats.add(&t, codeOf(err))
	return err
}

func (h *Handler) inferWith(w http.ResponseWriter, r *http.Request, m *served, t *times) error {
	select {
	case h.seats <- struct{}{}:
		defer func() { <-h.seats }()
	default:
		return busy("%d requests are under way or wait already: ask again", cap(h.seats))
	}
	a := m.arena()
	defer m.giveBack(a)
	q := &query{room: &h.room}
	defer q.close()
	if err := q.read(w, r, m, a, h.cfg.Limits.Body); err != nil {
		return err
	}
	t.read = time.Now()
	if q.Parameters.Timeout != nil && *q.Parameters.Timeout > 0 {
		q.until = t.began.Add(time.Duration(min(*q.Parameters.Timeout, int64(time.Hour/time.Microsecond))) * time.Microsecond)
	}
	ran, err := h.run(r.Context(), m, a, q, t)
	if err != nil {
		return err
	}
	if err := q.keep(ran.Outputs, h.cfg.Limits.Memory); err != nil {
		return err
	}
	return q.answer(w, m, a, ran.Outputs, t)
}

// keep takes room for the outputs too, until they are sent: a client may be slow.
func (q *query) keep(outputs []infer.Laid, most int64) error {
	total := q.taken
	for _, o := range outputs {
		total += int64(o.Size)
	}
	if total > most {
		return bad("the inputs and outputs of this request take %d bytes, at most %d are possible", total, most)
	}
	return q.reserve(total)
}

// errWanted is why a run was stopped for somebody more important.
var errWanted = errors.New("somebody more important waits")

// maxYields is how often a run is begun again after it was stopped for others.
const maxYields = 20

// run runs the model when it is the request's turn.
func (h *Handler) run(ctx context.Context, m *served, a *infer.Arena, q *query, t *times) (infer.Ran, error) {
	latest := q.until
	if latest.IsZero() {
		latest = t.began.Add(h.cfg.Limits.Wait)
	}
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
			return infer.Ran{}, h.refused(err, m, q, latest)
		}
		began := time.Now()
		ran, err := runTurn(ctx, m, a, q, turn, time.Until(latest))
		turn.Done(err == nil)
		t.wait, t.run = began.Sub(t.read), ran.Run
		switch {
		case err == nil:
			return ran, nil
		case errors.Is(err, errWanted):
			continue
		}
		return ran, h.refused(err, m, q, latest)
	}
	return infer.Ran{}, busy("model %s was needed by the stations each of the %d times that the request was begun: ask again later", m.Name, maxYields)
}

// runTurn runs the model once, and stops when the turn is wanted by others.
func runTurn(ctx context.Context, m *served, a *infer.Arena, q *query, turn *sched.Turn, limit time.Duration) (infer.Ran, error) {
	wanted := turn.Wanted()
	if wanted == nil {
		return m.Worker.RunTensors(ctx, a, q.inputs, max(limit, 1))
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
	ran, err := m.Worker.RunTensors(ctx, a, q.inputs, max(limit, 1))
	if err != nil && context.Cause(ctx) == errWanted {
		err = errWanted
	}
	return ran, err
}

// refused is what a client is told of a run that gave nothing by latest.
func (h *Handler) refused(err error, m *served, q *query, latest time.Time) error {
	late := fmt.Sprintf("within the %v that a request waits", h.cfg.Limits.Wait)
	if !q.until.IsZero() {
		late = fmt.Sprintf("within its timeout of %d µs", *q.Parameters.Timeout)
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

// answer writes the outputs that are wanted, binary ones straight from the arena.
func (q *query) answer(w http.ResponseWriter, m *served, a *infer.Arena, ran []infer.Laid, t *times) error {
	r := response{ModelName: m.Name, ModelVersion: m.Version, ID: q.ID, Outputs: few[wireTensor]{}}
	var binary [][]byte
	total := 0
	for _, want := range q.wanted {
		i := slices.IndexFunc(ran, func(l infer.Laid) bool { return l.Name == want.name })
		if i < 0 {
			return fmt.Errorf("model %s gave no output %s", m.Name, want.name)
		}
		out := Tensor{Name: want.name, Datatype: datatypes[ran[i].Type], Shape: ran[i].Shape, Data: a.Output(ran[i])}
		wire, err := out.encode(want.binary)
		if err != nil {
			return bad("%w", err)
		}
		r.Outputs = append(r.Outputs, wire)
		if want.binary {
			binary = append(binary, out.Data)
			total += len(out.Data)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	head := w.Header()
	head.Set("Content-Type", "application/json")
	if binary != nil {
		head.Set("Content-Type", "application/octet-stream")
		head.Set(headerLength, strconv.Itoa(len(text)))
	}
	head.Set("Content-Length", strconv.Itoa(len(text)+total))
	for _, part := range append([][]byte{text}, binary...) {
		if _, err := w.Write(part); err != nil {
			break // a client that has gone needs nothing more
		}
	}
	t.told = time.Now()
	return nil
}
