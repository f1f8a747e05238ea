package oip

import (
	"slices"

	"github.com/sightline-edge/sightline/vision/infer"
)

// idle is memory that is kept for the next requests, of all models together.
type idle struct {
	most  int64 // bytes
	count int   // arenas at most

	bytes int64
	list  []kept // the one that was used last is the last
}

type kept struct {
	worker *infer.Worker
	arena  *infer.Arena
}

// take gives the worker's arena that was used last, nil without one.
func (i *idle) take(w *infer.Worker) *infer.Arena {
	for n := len(i.list) - 1; n >= 0; n-- {
		if i.list[n].worker == w {
			return i.remove(n)
		}
	}
	return nil
}

// keep takes an arena in. It gives those that are too much then, to be released.
func (i *idle) keep(w *infer.Worker, a *infer.Arena) (over []*infer.Arena) {
	i.list = append(i.list, kept{w, a})
	i.bytes += int64(a.Bytes())
	for i.bytes > i.most || len(i.list) > i.count {
		over = append(over, i.remove(0))
	}
	return over
}

// drop gives the arenas of all workers but these, to be released.
func (i *idle) drop(now map[*infer.Worker]bool) (gone []*infer.Arena) {
	for n := len(i.list) - 1; n >= 0; n-- {
		if !now[i.list[n].worker] {
			gone = append(gone, i.remove(n))
		}
	}
	return gone
}

func (i *idle) remove(n int) *infer.Arena {
	a := i.list[n].arena
	i.bytes -= int64(a.Bytes())
	i.list = slices.Delete(i.list, n, n+1)
	return a
}

// arena gives memory for a request.
func (h *Handler) arena(m *served) *infer.Arena {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.idle.take(m.Worker); a != nil {
		return a
	}
	return m.Worker.NewArena()
}

// giveBack keeps memory for the next request, unless its model isn't served any more.
func (h *Handler) giveBack(m *served, a *infer.Arena) {
	h.mu.Lock()
	over := []*infer.Arena(nil)
	if h.known[m.Worker] == m.known {
		over = h.idle.keep(m.Worker, a)
	} else {
		over = append(over, a)
	}
	h.mu.Unlock()
	release(over)
}

func release(list []*infer.Arena) {
	for _, a := range list {
		a.Release()
	}
}

// Forget lets go of what is kept for models that aren't served any more. Who ends a
// model's worker calls it.
func (h *Handler) Forget() {
	models, now := h.cfg.Models(), map[*infer.Worker]bool{}
	for _, m := range models {
		now[m.Worker] = true
	}
	h.mu.Lock()
	for w := range h.known {
		if !now[w] {
			delete(h.known, w)
		}
	}
	gone := h.idle.drop(now)
	h.mu.Unlock()
	release(gone)
	h.book.trim(models)
}
