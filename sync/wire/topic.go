package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// Protocol is the version of what device and fleet say to each other.
const Protocol = 1

// Topics are sightline/v1/<shard>/<device>/<way>/<kind>.
const (
	topicRoot = "sightline/v1"
	shards    = 64
)

// Way is the direction of a message.
type Way string

// The two ways.
const (
	Up   Way = "up"   // device to fleet
	Down Way = "down" // fleet to device
)

// Kind is what a message is about.
type Kind string

// The kinds of messages, with what they carry.
const (
	KindHello  Kind = "hello" // up: Hello
	KindEvents Kind = "ev"    // up: a batch, see EncodeBatch
	KindState  Kind = "st"    // up: State
	KindLife   Kind = "life"  // up: Life
	KindGet    Kind = "get"   // up: Get
	KindReport Kind = "upd"   // up: Report
	KindAck    Kind = "ack"   // down: Ack
	KindError  Kind = "err"   // down: Refusal
	KindBlock  Kind = "blk"   // down: Block
	KindCmd    Kind = "cmd"   // down: Command
)

// UpKinds and DownKinds are the kinds that each way has so far.
var (
	UpKinds   = []Kind{KindHello, KindEvents, KindState, KindLife, KindGet, KindReport}
	DownKinds = []Kind{KindAck, KindError, KindBlock, KindCmd}
)

// deviceID is what a device may be called: it stands in topics, in NATS
// subjects and in certificates.
var deviceID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{2,62}$`)

// ValidDevice reports whether the text can be a device's id.
func ValidDevice(id string) bool { return deviceID.MatchString(id) }

// Shard is the device's share of the topics, two hex digits of 64 values, by
// which several ingesters can divide the work on any broker.
func Shard(device string) string {
	sum := sha256.Sum256([]byte(device))
	return hex.EncodeToString([]byte{sum[0] % shards})
}

// Topic is where a device's messages of a kind go.
func Topic(device string, way Way, kind Kind) string {
	return strings.Join([]string{topicRoot, Shard(device), device, string(way), string(kind)}, "/")
}

// AllUp is the filter for every device's messages of a kind.
func AllUp(kind Kind) string { return fmt.Sprintf("%s/+/+/%s/%s", topicRoot, Up, kind) }

// ParseTopic takes a topic apart. A device that isn't in its own shard, or
// whose name can't be one, is an error.
func ParseTopic(topic string) (device string, way Way, kind Kind, err error) {
	rest, ok := strings.CutPrefix(topic, topicRoot+"/")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 4 {
		return "", "", "", fmt.Errorf("topic %q isn't %s/<shard>/<device>/<way>/<kind>", topic, topicRoot)
	}
	if !ValidDevice(parts[1]) || Shard(parts[1]) != parts[0] {
		return "", "", "", fmt.Errorf("topic %q: no device %q is in shard %q", topic, parts[1], parts[0])
	}
	return parts[1], Way(parts[2]), Kind(parts[3]), nil
}
