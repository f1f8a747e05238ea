package rules

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/sightline-edge/sightline/vision"
)

var errTooLong = errors.New("the rule ran longer than its time limit")

// Rule is a module with its parameters. It is safe for concurrent use.
type Rule struct {
	module *Module
	params string
	name   string
	engine *Engine // that shares the module, nil for one of Module.Rule and after Close

	mu    sync.Mutex // protects stats
	stats Stats
}

// Stats counts a rule's decisions.
type Stats struct {
	Decided   uint64 // all calls of Decide
	Failed    uint64 // of them, those that gave NONE rule_failed
	TooLong   uint64 // of the failed ones, those ended at the time limit
	LastError string // of the last failed one, for people; "" if none
}

// Name is the rule with its parameters, as Parse reads it.
func (r *Rule) Name() string { return r.name }

// Digest is its module's, see Module.Digest.
func (r *Rule) Digest() string { return r.module.digest }

// Stats is a copy of the counts so far.
func (r *Rule) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Decide judges the part, which was seen in pictures of width by height
// pixels. There is always a decision: whatever goes wrong, be it that the
// rule traps, runs too long, answers nonsense, or that ctx is done, gives
// NONE with the reason vision.ReasonRuleFailed, and Stats says what it was.
func (r *Rule) Decide(ctx context.Context, part vision.Part, width, height int) vision.Decision {
	d, err := r.decide(ctx, &part, width, height)
	if err != nil {
		d = vision.Decision{Verdict: vision.None, Reason: vision.ReasonRuleFailed}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Decided++
	if err != nil {
		r.stats.Failed++
		r.stats.LastError = err.Error()
		if errors.Is(err, errTooLong) {
			r.stats.TooLong++
		}
	}
	return d
}

func (r *Rule) decide(ctx context.Context, part *vision.Part, width, height int) (vision.Decision, error) {
	i, err := r.module.take(ctx, r)
	if err != nil {
		return vision.Decision{}, err
	}
	d, err := i.decide(ctx, r.module.limit, part, width, height)
	if err != nil {
		// Its memory may be in any state, so it never decides again.
		_ = i.mod.Close(ctx) // it is given up whether or not it closes well
		return vision.Decision{}, err
	}
	r.module.put(ctx, i)
	return d, nil
}

// instance is one running copy of a module. One caller owns it at a time.
type instance struct {
	mod                api.Module
	mem                api.Memory
	alloc, rule, setUp api.Function // setUp is nil if the module takes no parameters
	serves             *Rule        // whose parameters it was given last
	log                boundedLog
	slept              int64 // nanoseconds that the guest believes to have slept

	at, size uint32 // the input memory that alloc gave
	input    []byte
	stack    [1]uint64
}

func (i *instance) decide(ctx context.Context, limit time.Duration, part *vision.Part, width, height int) (vision.Decision, error) {
	b, err := appendPart(i.input[:0], part, width, height)
	if err != nil {
		return vision.Decision{}, err
	}
	i.input = b
	answer, err := i.call(ctx, limit, i.rule, maxAnswer)
	if err != nil {
		return vision.Decision{}, err
	}
	d, err := decodeAnswer(answer)
	if err != nil {
		return vision.Decision{}, fmt.Errorf("read the rule's answer: %w", err)
	}
	return d, nil
}

// configure hands over the parameters, also when the instance had others.
func (i *instance) configure(ctx context.Context, limit time.Duration, params string) error {
	i.serves = nil
	if i.setUp == nil {
		if params != "" {
			return fmt.Errorf("the module takes no parameters, got %q: leave them out, or export configure", params)
		}
		return nil
	}
	i.input = appendText(i.input[:0], params)
	text, err := i.call(ctx, limit+startLimit/10, i.setUp, maxText)
	if err != nil {
		return fmt.Errorf("hand over the parameters %q: %w", params, err)
	}
	if len(text) > 0 {
		return fmt.Errorf("parameters %q: %s", params, clean(text))
	}
	return nil
}

// call writes i.input into the guest, calls f and reads what its result
// points to. The bytes belong to the guest and are valid until the next call.
func (i *instance) call(ctx context.Context, limit time.Duration, f api.Function, most uint32) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	i.log.b = i.log.b[:0]
	if err := i.place(ctx); err != nil {
		return nil, err
	}
	i.stack[0] = 0
	if err := f.CallWithStack(ctx, i.stack[:]); err != nil {
		return nil, fmt.Errorf("%w%s", readable(err), i.log.tail())
	}
	at, n := uint32(i.stack[0]>>32), uint32(i.stack[0])
	if n == 0 {
		return nil, nil
	}
	if n > most {
		return nil, fmt.Errorf("the rule answered %d bytes, at most %d will do", n, most)
	}
	b, ok := i.mem.Read(at, n)
	if !ok {
		return nil, fmt.Errorf("the rule's answer of %d bytes at %d lies outside its memory of %d bytes", n, at, i.mem.Size())
	}
	return b, nil
}

// place writes i.input where alloc says, asking again only for more room.
func (i *instance) place(ctx context.Context) error {
	n := uint32(len(i.input))
	if n > i.size {
		size := max(2*n, 1024)
		i.stack[0] = uint64(size)
		if err := i.alloc.CallWithStack(ctx, i.stack[:]); err != nil {
			return fmt.Errorf("alloc: %w%s", readable(err), i.log.tail())
		}
		i.at, i.size = uint32(i.stack[0]), size
	}
	if i.at == 0 || !i.mem.Write(i.at, i.input) {
		at := i.at
		i.at, i.size = 0, 0
		return fmt.Errorf("alloc(%d) answered %d, where the module's memory of %d bytes has no room for it", n, at, i.mem.Size())
	}
	return nil
}
