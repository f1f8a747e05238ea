package ingest

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
)

// maxAnswers bounds the outbox. An answer that is lost is asked for again.
const maxAnswers = 1 << 14

// outbox holds answers on their way to the broker, which may be slow; the
// writer never waits for it. A newer answer takes an older one's place.
type outbox struct {
	ready chan struct{}

	mu      sync.Mutex // protects what follows
	answers map[answerTo]answer
	order   []answerTo
}

// answerTo is what only the newest answer matters for.
type answerTo struct {
	topic      string
	about      uint64 // the epoch, or the refusal's code
	connection uint64 // of a Hello that it answers
}

type answer struct{ body []byte }

func newOutbox() *outbox {
	return &outbox{ready: make(chan struct{}, 1), answers: map[answerTo]answer{}}
}

func (o *outbox) put(to answerTo, m proto.Message) {
	body, err := wire.Marshal(m)
	if err != nil {
		panic("BUG: an answer can't be encoded: " + err.Error())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, there := o.answers[to]; !there {
		if len(o.order) >= maxAnswers {
			return
		}
		o.order = append(o.order, to)
	}
	o.answers[to] = answer{body}
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outbox) next() (topic string, body []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) == 0 {
		return "", nil, false
	}
	to := o.order[0]
	o.order = o.order[1:]
	body = o.answers[to].body
	delete(o.answers, to)
	return to.topic, body, true
}

func (o *outbox) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.answers)
	o.order = nil
}

// answer publishes what is in the outbox. What can't be published is dropped:
// the device asks again.
func (in *Ingest) answer(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-in.out.ready:
		}
		for ctx.Err() == nil {
			topic, body, ok := in.out.next()
			if !ok {
				break
			}
			client := in.client.Load()
			if client == nil || !(*client).IsConnectionOpen() {
				in.out.clear()
				break
			}
			// The write's own time-out ends a connection that stands still.
			token := (*client).Publish(topic, 0, false, body)
			if !token.WaitTimeout(writeTimeout) || token.Error() != nil {
				in.out.clear()
			}
		}
	}
}

// ack tells a device how far its epoch has come.
func (in *Ingest) ack(device string, epoch, watermark, connection uint64) {
	in.out.put(answerTo{wire.Topic(device, wire.Down, wire.KindAck), epoch, connection},
		&wire.Ack{Epoch: epoch, Watermark: watermark, Connection: connection})
}
