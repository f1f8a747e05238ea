package wire

import "strings"

// Unit names what a bundle runs in: a station, or one recipe of a station that
// follows a bundle of its own, as "station@recipe". Neither name has an @.
func Unit(station, recipe string) string {
	if recipe == "" {
		return station
	}
	return station + "@" + recipe
}

// SplitUnit is what Unit was made of.
func SplitUnit(unit string) (station, recipe string) {
	station, recipe, _ = strings.Cut(unit, "@")
	return station, recipe
}
