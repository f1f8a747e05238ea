package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
)

// What the doors for a line's controller are measured with.
const (
	doorTriggers = 1000
	doorRounds   = 5
	doorLimit    = 2.0  // ms, p99
	doorRate     = 50.0 // frames a second of the camera
)

// echoRole is the bench as a bare TCP server: ANSWER bytes for each message.
const echoRole = "echo"

// echo answers until its standard input ends.
func echo(_ context.Context, args []string, out io.Writer) error {
	n, err := numbers(args, 1)
	if err != nil {
		return err
	}
	l, err := listen(out)
	if err != nil {
		return fmt.Errorf("serve echoes: %w", err)
	}
	answer, message := bytes.Repeat([]byte{'.'}, n[0]), make([]byte, 1024)
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve echoes: %w", err)
		}
		for err == nil {
			if _, err = c.Read(message); err == nil {
				_, err = c.Write(answer)
			}
		}
		_ = c.Close() // the peer has gone
	}
}

// plcDoor measures what the doors add to an inspection.
func plcDoor() Figure {
	return Figure{
		ID:   "plc",
		What: "trigger in → result out of a door beyond inspection and commit, p99 ms ÷ the 2 ms that are allowed",
		Goal: "<= 1",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			return withLine(ctx, env, func(b *lineCell) (rows []Row, err error) {
				ascii, err := dialASCII(ctx, b.ascii)
				if err != nil {
					return nil, err
				}
				rows, err = b.door(ctx, "plc/ascii", "a line of ASCII and its answer", ascii, asciiAnswer)
				if err = errors.Join(err, ascii.conn.Close()); err != nil {
					return rows, err
				}
				modbus, err := dialModbus(ctx, b.modbus)
				if err != nil {
					return rows, err
				}
				more, err := b.door(ctx, "plc/modbus", fmt.Sprintf("Modbus TCP: one write of ID and trigger, then reads of all registers, %v after each answer", modbusPause), modbus, modbusAnswer)
				return append(rows, more...), errors.Join(err, modbus.conn.Close())
			})
		},
	}
}

// lineCell is an agent with a trigger station behind both doors and two recipes.
type lineCell struct {
	env           *Env
	agent         *runner
	ascii, modbus string
}

// withLine measures with a belt of its own.
func withLine(ctx context.Context, env *Env, measure func(*lineCell) ([]Row, error)) (rows []Row, err error) {
	if err := needs(env.ORT, filepath.Join(env.Bin, "sightline-agent")); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sightline-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	camera, sources, err := liveCameras(ctx, 1, doorRate, 640, 360)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, camera.end()) }()
	b := &lineCell{env: env}
	for _, at := range []*string{&b.ascii, &b.modbus} {
		if *at, err = cable.FreeAddress("127.0.0.1"); err != nil {
			return nil, err
		}
	}
	if b.agent, err = configured(env, dir, b.text(sources[0])); err != nil {
		return nil, err
	}
	if err := b.agent.start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.agent.kill()) }()
	if _, err := b.agent.until(ctx, func(all []stationNow) bool { return all[0].Ready }); err != nil {
		return nil, err
	}
	return measure(b)
}

func (b *lineCell) text(source string) string {
	return fmt.Sprintf("stations:\n"+
		"  - id: line\n    mode: trigger\n    criticality: critical\n    deadline: 1s\n    camera: {source: %q}\n"+
		"    recipes:\n      - {name: blue, model: drawn-parts}\n      - {name: red, model: drawn-parts, rule: \"threshold:scratch>0.9\", roi: [100, 50, 500, 300]}\n"+
		"    preload: [blue, red]\n"+
		"plc:\n  - {station: line, protocol: ascii, listen: %q, peers: [127.0.0.1]}\n  - {station: line, protocol: modbus, listen: %q, peers: [127.0.0.1]}\n",
		source, b.ascii, b.modbus)
}

// controller is a line's controller at one door.
type controller interface {
	// inspect has one part inspected: ms from the trigger to the whole result. The
	// handshake is over when it returns.
	inspect(id string) (ms float64, err error)
}

// door triggers so many inspections, and takes off each what the agent needed from
// the trigger to the committed answer.
func (b *lineCell) door(ctx context.Context, id, what string, c controller, answer int) ([]Row, error) {
	bare, err := startChild(ctx, echoRole, answer)
	if err != nil {
		return nil, err
	}
	beyond, took, echoes, rounds, err := b.trips(ctx, id, c, bare.addr)
	if err = errors.Join(err, bare.end()); err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	p99, bareP99 := quantile(beyond, 0.99), quantile(echoes, 0.99)
	noise := bareP99 / quantile(echoes, 0.5)
	what = fmt.Sprintf("%s, %d triggers, the round trip less what the agent took from trigger to committed answer (medians %.2f and %.1f ms): p99 ms ÷ ", what, len(beyond), quantile(beyond, 0.5), quantile(took, 0.5))
	return []Row{
		measured(b.env, Row{ID: id, Goal: "<= 1", What: what + "the 2 ms that are allowed; worst of five rounds"}, p99, doorLimit, quantile(rounds, 1)/doorLimit, noise),
		measured(b.env, Row{ID: id + "-echo", Goal: "told", What: what + "that of a bare TCP server that answers as many bytes"}, p99, bareP99, quantile(rounds, 1)/bareP99, noise),
	}, nil
}

// trips are ms of each trigger: beyond the inspection, of the inspection, of a bare
// echo right after it; and each round's p99 of the first.
func (b *lineCell) trips(ctx context.Context, id string, c controller, bare string) (beyond, took, echoes, rounds []float64, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", bare)
	if err != nil {
		return nil, nil, nil, nil, fmt.Errorf("reach the bare server: %w", err)
	}
	defer conn.Close()
	name := strings.ReplaceAll(id, "/", "-")
	for n := range doorTriggers {
		trigger := fmt.Sprintf("%s-%04d", name, n)
		ms, err := c.inspect(trigger)
		if err != nil {
			return nil, nil, nil, nil, fmt.Errorf("trigger %d: %w", n, err)
		}
		inside, err := b.inside(ctx, trigger)
		if err != nil {
			return nil, nil, nil, nil, err
		}
		bareMS, err := bareTrip(conn)
		if err != nil {
			return nil, nil, nil, nil, err
		}
		beyond, took, echoes = append(beyond, ms-inside), append(took, inside), append(echoes, bareMS)
		if size := doorTriggers / doorRounds; len(beyond)%size == 0 {
			rounds = append(rounds, quantile(beyond[len(beyond)-size:], 0.99))
		}
	}
	return beyond, took, echoes, rounds, nil
}

// bareTrip is one bare round trip, ms.
func bareTrip(conn net.Conn) (float64, error) {
	message := make([]byte, 1024)
	return took(func() error {
		if _, err := conn.Write([]byte("T plc-ascii-0000\r\n")); err != nil {
			return err
		}
		_, err := conn.Read(message)
		return err
	})
}

// inside asks the agent for the answer again that it gave to a trigger, and how long
// that took, ms.
func (b *lineCell) inside(ctx context.Context, trigger string) (float64, error) {
	var a struct {
		Reason   string
		Seq      uint64
		Repeated bool
		First    float64 `json:"first_latency_ms"`
	}
	err := b.agent.send(ctx, http.MethodPost, "/v1/stations/line/trigger", fmt.Sprintf(`{"trigger_id": %q}`, trigger), &a)
	if err == nil && (!a.Repeated || a.Seq == 0 || a.First <= 0) {
		err = fmt.Errorf("trigger %s has no committed answer: %+v", trigger, a)
	}
	return a.First, err
}

// send asks the agent for something to be done.
func (r *runner) send(ctx context.Context, method, path, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// doorPatience bounds one exchange with a door.
const doorPatience = 10 * time.Second
