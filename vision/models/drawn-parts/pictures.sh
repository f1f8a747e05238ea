#!/bin/sh
# Writes the pictures that a model of the drawn parts is trained on: pictures.sh SIGHTLINE DIR [large]
# where SIGHTLINE is the operator's command (bin/sightline). drawn-parts: about 300 MB, a minute;
# with large those of drawn-parts-large: 700 MB, three minutes.
set -eu
sightline=$1 out=$2

# seed, pictures, every n-th frame, share of bad parts, size, JPEG quality, more flags
draw() {
	while read -r seed frames every bad size quality more; do
		# shellcheck disable=SC2086 # more is several words, or none
		"$sightline" scene write --out "$out/$seed" --seed "$seed" --frames "$frames" --every "$every" \
			--defect-rate "$bad" --size "$size" --quality "$quality" $more
	done
}

if [ "${3:-}" = large ]; then
	draw <<-'LIST'
		1101 1000 37 0.7 768x432 90
		1102 1000 37 0.7 768x432 85 --right-to-left
		1103 1000 41 0.7 768x432 92
		1104 800 37 0.3 768x432 90 --right-to-left
		1105 800 37 0.12 768x432 90
		1106 1000 41 0.8 768x432 88
		1107 400 23 0.6 768x432 78 --speed 2
		1108 400 37 0.6 640x360 90
		1109 300 37 0.6 1280x720 88
		1110 400 37 0.6 960x540 90
		1111 300 37 0.6 640x480 88 --right-to-left
		1112 1000 41 0.7 768x432 95 --right-to-left
		1113 1000 37 0.6 768x432 82
		1114 1000 37 0.12 768x432 88 --right-to-left
		1115 700 13 0.7 768x432 80 --speed 3
		1116 700 13 0.7 768x432 60 --speed 3 --right-to-left
		1117 600 11 0.5 768x432 90 --speed 4
		1118 700 37 0.7 768x432 50
		1119 500 19 0.7 768x432 60 --speed 2
		1120 500 37 0.7 512x288 90
		1121 400 13 0.12 768x432 70 --speed 3
	LIST
	exit
fi
draw <<-'LIST'
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
