package plc

import (
	"strings"

	"github.com/sightline-edge/sightline/vision"
)

// ruleWords is the code of every reason that the agent doesn't know: the rule's own words.
const ruleWords = 1000

// reasonCodes are the numbers of reasons on doors that have no room for words.
// They are stable: a number is never given a second meaning.
var reasonCodes = []struct {
	code    uint16
	reason  string
	meaning string
}{
	{0, "ok", "the rule has nothing to object to"},
	{1, vision.ReasonNoRule, "the station has no rule"},
	{2, vision.ReasonNotRecorded, "the verdict was not on disk by the deadline"},
	{3, vision.ReasonRuleFailed, "the rule trapped, ran too long or answered nonsense"},
	{4, vision.ReasonModelFailed, "no picture of the part was inspected to the end"},
	{5, vision.ReasonStopped, "the agent ended while it inspected the part"},
	{6, vision.ReasonLate, "no result by the trigger's deadline"},
	{7, vision.ReasonNoFrame, "the camera gave no picture for the trigger"},
	{8, vision.ReasonStale, "the picture was older than the station allows"},
	{9, vision.ReasonOverrun, "triggers came faster than they can be answered"},
	{10, vision.ReasonWrongRecipe, "the trigger names a recipe that isn't the active one"},
	{11, vision.ReasonViewMissing, "one of several cameras gave no picture"},
	{12, vision.ReasonNoPart, "the picture shows no part"},
	{13, vision.ReasonOverload, "the device can't inspect well enough now"},
	{14, vision.ReasonRepeatedID, "the trigger's ID was another part's not long ago; this part was not inspected"},
	{15, vision.ReasonStarting, "the agent has just started, and doesn't know its earlier triggers yet"},
	{16, vision.ReasonDoubt, "the model wasn't sure, and the large model couldn't look at the part"},
	{100, vision.ReasonCamera, "another fault of the camera's pictures than those below"},
	{101, vision.ReasonCamera + "frozen", "the camera sends the same picture again and again"},
	{102, vision.ReasonCamera + "dark", "the camera's pictures are dark"},
	{103, vision.ReasonCamera + "overexposed", "the camera's pictures are overexposed"},
	{104, vision.ReasonCamera + "blurred", "the camera's pictures have lost their sharpness"},
	{105, vision.ReasonCamera + "moved", "the camera looks at another place"},
	{106, vision.ReasonCamera + "flicker", "the brightness of the pictures swings"},
	{107, vision.ReasonCamera + "silent", "the camera sends no pictures"},
	{108, vision.ReasonCamera + "unreachable", "the camera can't be reached"},
	{ruleWords, "", "the rule's own words, which stand in the record and on the ASCII door"},
}

// reasonCode gives a reason's number. A rule that has nothing to say has said ok.
func reasonCode(reason string) uint16 {
	if reason == "" {
		return 0
	}
	for _, r := range reasonCodes {
		if r.reason == reason {
			return r.code
		}
	}
	if strings.HasPrefix(reason, vision.ReasonCamera) {
		return 100
	}
	return ruleWords
}
