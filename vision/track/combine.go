package track

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind says how the frames of a part are combined to one score of a defect.
type Kind uint8

// The ways to combine frames. A frame that doesn't show the defect counts as
// score 0. Views that the picture's border cuts count for none of them, where
// there are enough others.
const (
	Standard Kind = iota // the score that a few frames reached, see Config.Evidence
	Any                  // the best score of any frame
	Majority             // the score that more than half of the frames reached
	KofN                 // the score that K of the newest N frames reached
	Best                 // the score in the best view of the part, the one that its picture shows
)

// Combine is how the frames of a part are combined.
type Combine struct {
	Kind Kind
	K, N int // of KofN; of a part seen in fewer than K frames all must agree
}

// ParseCombine reads a combination as it stands in a config: any, majority,
// best, "3 of 10", or standard, which nothing means too.
func ParseCombine(text string) (Combine, error) {
	c, err := parseCombine(strings.Fields(text))
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return Combine{}, fmt.Errorf("combine %q: %w", text, err)
	}
	return c, nil
}

func parseCombine(words []string) (Combine, error) {
	switch {
	case len(words) == 0:
		return Combine{}, nil
	case len(words) == 1:
		for kind, name := range kindNames {
			if name == words[0] {
				return Combine{Kind: kind}, nil
			}
		}
	case len(words) == 3 && words[1] == "of":
		k, errK := strconv.Atoi(words[0])
		n, errN := strconv.Atoi(words[2])
		if errK != nil || errN != nil {
			return Combine{}, fmt.Errorf("both must be whole numbers, as in: 3 of 10")
		}
		return Combine{Kind: KofN, K: k, N: n}, nil
	}
	return Combine{}, fmt.Errorf("must be one of: standard, any, majority, best, 3 of 10")
}

var kindNames = map[Kind]string{Standard: "standard", Any: "any", Majority: "majority", Best: "best"}

// Validate tells what is wrong with a combination.
func (c Combine) Validate() error {
	if c.Kind != KofN {
		if _, known := kindNames[c.Kind]; !known {
			return fmt.Errorf("there is no way %d to combine frames", c.Kind)
		}
		return nil
	}
	switch {
	case c.N < 1 || c.N > maxFrames:
		return fmt.Errorf("the second number must be 1 to %d frames, got %d", maxFrames, c.N)
	case c.K < 1 || c.K > c.N:
		return fmt.Errorf("the first number must be 1 to %d, as many as the second, got %d", c.N, c.K)
	}
	return nil
}

// String gives the text that ParseCombine reads.
func (c Combine) String() string {
	if c.Kind == KofN {
		return fmt.Sprintf("%d of %d", c.K, c.N)
	}
	return kindNames[c.Kind]
}
