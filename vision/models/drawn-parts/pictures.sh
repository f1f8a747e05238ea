#!/bin/sh
# Writes the pictures that drawn-parts is trained on: pictures.sh SIGHTLINE DIR
# where SIGHTLINE is the operator's command (bin/sightline). About 300 MB, a minute.
set -eu
sightline=$1 out=$2

# seed, pictures, every n-th frame, share of bad parts, size, JPEG quality, more flags
while read -r seed frames every bad size quality more; do
	# shellcheck disable=SC2086 # more is several words, or none
	"$sightline" scene write --out "$out/$seed" --seed "$seed" --frames "$frames" --every "$every" \
		--defect-rate "$bad" --size "$size" --quality "$quality" $more
done <<-'LIST'
	1001 500 17 0.55 768x432 90
	1002 400 13 0.12 768x432 85 --right-to-left
	1003 500 19 0.55 768x432 80
	1004 400 17 0.8 768x432 95 --right-to-left
	1005 500 17 0.55 768x432 90 --right-to-left
	1006 400 11 0.12 768x432 92
	1007 400 11 0.55 768x432 75 --speed 2
	1008 400 17 0.8 768x432 92
	1009 250 17 0.6 640x360 90
	1010 200 17 0.6 1280x720 88
	1011 250 17 0.5 960x540 90
	1012 200 17 0.6 640x480 88
	1013 500 17 0.6 768x432 82
	1014 500 17 0.3 768x432 90 --right-to-left
LIST
