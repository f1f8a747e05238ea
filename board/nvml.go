package board

import "time"

// Times of asking NVIDIA's library.
const (
	nvmlLimit = time.Second // for an answer
	nvmlRetry = time.Minute // between two tries to open it
)

// library asks NVIDIA's library from a goroutine of its own: a driver that
// hangs holds a call for ever, and no call can be taken back. A goroutine that
// doesn't answer in time is left behind, and no second one is begun until it
// has come back; so a hung driver costs one thread and no reading.
type library struct {
	ask     func() ([]GPU, []Problem) // nil where this program can't
	limit   time.Duration
	pending chan answer // of the call that is under way, nil without
}

type answer struct {
	gpus     []GPU
	problems []Problem
}

func newLibrary() *library { return &library{ask: askNVML(), limit: nvmlLimit} }

// poll asks and waits for limit at most.
func (l *library) poll() ([]GPU, []Problem) {
	if l == nil || l.ask == nil {
		return nil, nil
	}
	if l.pending != nil {
		select {
		case <-l.pending: // late, and of another time
			l.pending = nil
		default:
			return nil, []Problem{{"nvml", "the driver still doesn't answer"}}
		}
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		a.gpus, a.problems = l.ask()
		done <- a
	}()
	late := time.NewTimer(l.limit)
	defer late.Stop()
	select {
	case a := <-done:
		return a.gpus, a.problems
	case <-late.C:
		l.pending = done
		return nil, []Problem{{"nvml", "the driver doesn't answer within " + l.limit.String()}}
	}
}
