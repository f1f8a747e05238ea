package broker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// streams are where NATS keeps what MQTT promises. NATS would make them itself
// when the first client comes, as files and without limits. As files they
// outlive their use: after a full disk NATS doesn't write them again until it is
// restarted, and acknowledges nothing meanwhile. Without limits one device with
// large retained messages could fill them, and nobody could connect.
var streams = []server.StreamConfig{
	// One record a client id, with its subscriptions.
	{Name: "$MQTT_sess", Subjects: []string{"$MQTT.sess.>"}, Retention: server.LimitsPolicy, MaxMsgsPer: 1, MaxBytes: 16 << 20, MaxMsgSize: 256 << 10},
	// What waits for subscriptions with QoS 1. The oldest goes first.
	{Name: "$MQTT_msgs", Subjects: []string{"$MQTT.msgs.>"}, Retention: server.InterestPolicy, MaxBytes: 64 << 20},
	// Retained messages. Large ones aren't kept, and of the others the oldest
	// goes first.
	{Name: "$MQTT_rmsgs", Subjects: []string{"$MQTT.rmsgs.>"}, Retention: server.LimitsPolicy, MaxMsgsPer: 1, MaxBytes: 16 << 20, MaxMsgSize: 16 << 10},
	// QoS 2, which is refused.
	{Name: "$MQTT_qos2in", Subjects: []string{"$MQTT.qos2.in.>"}, Retention: server.LimitsPolicy, Discard: server.DiscardNew, MaxMsgsPer: 1, DiscardNewPer: true, MaxBytes: 1 << 20},
	{Name: "$MQTT_out", Subjects: []string{"$MQTT.out.>"}, Retention: server.InterestPolicy, MaxBytes: 1 << 20},
}

// limit makes the streams with their limits.
func (b *Broker) limit() error {
	nc, err := b.srv.InProcessConn()
	if err != nil {
		return fmt.Errorf("speak to NATS: %w", err)
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(startTime)); err != nil {
		return fmt.Errorf("speak to NATS: %w", err)
	}
	c := &internal{nc: nc, in: bufio.NewReader(nc)}
	if err := c.connect(b.gate.secret); err != nil {
		return fmt.Errorf("speak to NATS: %w", err)
	}
	for _, want := range streams {
		want.Storage, want.Replicas, want.MaxConsumers, want.MaxMsgs = server.MemoryStorage, 1, -1, -1
		err := c.ask("$JS.API.STREAM.CREATE."+want.Name, want)
		if err != nil {
			return fmt.Errorf("limit of %s: %w", want.Name, err)
		}
	}
	return nil
}

// internal is the little of NATS's own protocol that asking JetStream takes; the
// whole client would be another module.
type internal struct {
	nc net.Conn
	in *bufio.Reader
}

func (c *internal) connect(secret string) error {
	if _, err := c.line("INFO "); err != nil {
		return err
	}
	hello, err := json.Marshal(map[string]string{"auth_token": secret})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.nc, "CONNECT %s\r\nSUB answers 1\r\nPING\r\n", hello); err != nil {
		return err
	}
	_, err = c.line("PONG")
	return err
}

// line is the rest of the next line with that beginning; others are of no
// interest, but for errors.
func (c *internal) line(begins string) (string, error) {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		if rest, ok := strings.CutPrefix(line, begins); ok {
			return strings.TrimSpace(rest), nil
		}
		if what, ok := strings.CutPrefix(line, "-ERR "); ok {
			return "", fmt.Errorf("it says %s", strings.TrimSpace(what))
		}
	}
}

// ask sends a request and waits for the answer, whose error it returns.
func (c *internal) ask(subject string, request any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.nc, "PUB %s answers %d\r\n%s\r\n", subject, len(body), body); err != nil {
		return err
	}
	head, err := c.line("MSG answers 1 ")
	if err != nil {
		return err
	}
	var size int
	// A reply subject may stand before the size.
	if _, err := fmt.Sscan(head[strings.LastIndexByte(head, ' ')+1:], &size); err != nil {
		return fmt.Errorf("its answer begins with %q: %w", head, err)
	}
	answer := make([]byte, size)
	if _, err := io.ReadFull(c.in, answer); err != nil {
		return err
	}
	var said struct {
		Error *server.ApiError `json:"error"`
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return fmt.Errorf("its answer: %w", err)
	}
	if said.Error != nil {
		return said.Error
	}
	return nil
}
