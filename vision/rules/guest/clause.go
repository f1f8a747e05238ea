package guest

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Any stands in a clause for every label of evidence.
const Any = "defect"

// Clause is one condition of a rule's parameters: the score of a label
// against a limit.
type Clause struct {
	Label   string
	AtLeast bool // ">=", else ">"
	Limit   float32
	text    string // the limit as it was written
}

// Holds reports whether the score fulfils the clause. Both are float32, so
// that a score of 0.7 is at least 0.7.
func (c *Clause) Holds(score float32) bool {
	if c.AtLeast {
		return score >= c.Limit
	}
	return score > c.Limit
}

// Names reports whether the clause speaks of the label.
func (c *Clause) Names(label string) bool { return c.Label == Any || c.Label == label }

// Describe says the clause of a label and a score, as in "scratch 0.91 > 0.5".
// The score has as many digits, three at least, as make the sentence true.
func (c *Clause) Describe(label string, score float32) string {
	s := strconv.FormatFloat(math.Round(float64(score)*1000)/1000, 'f', -1, 64)
	if v, err := strconv.ParseFloat(s, 32); err != nil || c.Holds(float32(v)) != c.Holds(score) {
		s = strconv.FormatFloat(float64(score), 'f', -1, 32)
	}
	return label + " " + s + " " + c.operator() + " " + c.text
}

// String is the clause as it is written in parameters.
func (c *Clause) String() string { return c.Label + c.operator() + c.text }

func (c *Clause) operator() string {
	if c.AtLeast {
		return ">="
	}
	return ">"
}

// ParseClauses reads "scratch>=0.7,dent>0.5": a list parted by commas of
// label, > or >=, and a score from 0 to 1. A label can't hold a comma.
func ParseClauses(s string) ([]Clause, error) {
	var list []Clause
	for one := range strings.SplitSeq(s, ",") {
		c, err := parseClause(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		for i := range list {
			if list[i].Label == c.Label {
				return nil, errors.New(strconv.Quote(c.Label) + " has two limits: " + list[i].String() + " and " + c.String() + "; keep one")
			}
		}
		list = append(list, c)
	}
	return list, nil
}

func parseClause(s string) (Clause, error) {
	at := strings.LastIndexByte(s, '>')
	if at < 0 {
		return Clause{}, errors.New(strconv.Quote(s) + " has no limit: write label>score, as in defect>0.5")
	}
	c := Clause{Label: strings.TrimSpace(s[:at])}
	number, atLeast := strings.CutPrefix(s[at+1:], "=")
	c.AtLeast = atLeast
	c.text = strings.TrimSpace(number)
	if c.Label == "" {
		return Clause{}, errors.New(strconv.Quote(s) + " names no label: write label>score, as in defect>0.5")
	}
	v, err := strconv.ParseFloat(c.text, 32)
	if err != nil || !(v >= 0 && v <= 1) {
		return Clause{}, errors.New(strconv.Quote(s) + ": " + strconv.Quote(c.text) + " is no score from 0 to 1, as in defect>0.5")
	}
	c.Limit = float32(v)
	return c, nil
}
