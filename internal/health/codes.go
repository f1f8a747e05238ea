package health

//go:generate go test -run ^TestReferenceIsFresh$ . -update

// What a device, or the fleet, can warn about. A new kind is declared here and listed in All.
var (
	CameraSilent = Warning{
		Code: "camera_silent", Severity: Error,
		Title: "the camera is connected but sends no pictures",
		Do:    "Check the camera's power and its cable. Sightline tries again by itself; parts that pass meanwhile aren't inspected.",
	}
	CameraUnreachable = Warning{
		Code: "camera_unreachable", Severity: Error,
		Title: "the camera can't be reached",
		Do:    "Check that the camera is on and that its address, user name and password are right. Sightline tries again by itself.",
	}
	CameraPictureBroken = Warning{
		Code: "camera_picture_broken", Severity: Warn,
		Title: "the camera sends pictures that can't be read",
		Do:    "Check the network between camera and device for lost packets. Broken pictures are counted and never judged.",
	}
	CameraPictureIncomplete = Warning{
		Code: "camera_picture_incomplete", Severity: Warn,
		Title: "parts of the camera's pictures are lost on the way",
		Do:    "Check cables and switches between camera and device, and whether the network carries the camera's rate; GigE cameras want jumbo frames. Incomplete pictures are counted and never judged.",
	}
	CameraRefuses = Warning{
		Code: "camera_refuses", Severity: Error,
		Title: "the camera refuses the user or the password",
		Do:    "Correct the camera's user and password. So that the camera doesn't lock the account, it is asked again only every few minutes, or when the file with the credentials changes.",
	}
	CameraFrozen = Warning{
		Code: "camera_frozen", Severity: Error,
		Title: "the camera sends the same picture again and again",
		Do:    "Restart the camera. What it shows may be long past.",
	}
	CameraDark = Warning{
		Code: "camera_dark", Severity: Warn,
		Title: "the camera's pictures are dark",
		Do:    "Check the lights, the lens cap, and the exposure time.",
	}
	CameraOverexposed = Warning{
		Code: "camera_overexposed", Severity: Warn,
		Title: "the camera's pictures are overexposed",
		Do:    "Check the exposure time and gain, and whether light from elsewhere falls in.",
	}
	CameraBlurred = Warning{
		Code: "camera_blurred", Severity: Warn,
		Title: "the camera's pictures have lost their sharpness",
		Do:    "Clean the lens and check the focus. Small defects may not be seen meanwhile.",
	}
	CameraMoved = Warning{
		Code: "camera_moved", Severity: Warn,
		Title: "the camera looks at another place than its reference picture shows",
		Do:    "Turn the camera back to where it was. If the new place is right, set the reference picture anew on the camera's page, with the station empty.",
	}
	CameraReference = Warning{
		Code: "camera_reference_unusable", Severity: Warn,
		Title: "the camera's reference picture can't be compared with what it sees",
		Do:    "Set the reference picture anew on the camera's page. Until then nobody sees that the camera has moved.",
	}
	CameraFlicker = Warning{
		Code: "camera_flicker", Severity: Warn,
		Title: "the brightness of the camera's pictures swings",
		Do:    "Use lamps without flicker, or an exposure time that is a multiple of half the mains period (10 ms at 50 Hz, 8.33 ms at 60 Hz).",
	}
	ModelWorkerRestarting = Warning{
		Code: "model_worker_restarting", Severity: Error,
		Title: "the model's process ended and is being started again",
		Do:    "If this comes back, look into the log for the reason: the model, its memory, or the library that runs it. Parts that it missed are rejected.",
	}
	ModelLeaks = Warning{
		Code: "model_leaks", Severity: Warn,
		Title: "the model's process takes on memory and doesn't give it back",
		Do:    "Nothing at once: its process is replaced between two pictures before the memory is used up, and nothing is lost. Another version of the model, or of ONNX Runtime (infer.onnxruntime), may not leak.",
	}
	ModelMemory = Warning{
		Code: "model_memory", Severity: Warn,
		Title: "the model's process takes more memory than it may have",
		Do:    "Raise infer.memory_mb in the configuration if the device has room, or use a smaller model. A process that grew beyond it was replaced between two pictures.",
	}
	RuleFailing = Warning{
		Code: "rule_failing", Severity: Error,
		Title: "the station's rule fails, its parts get no decision and are rejected",
		Do:    "Try the rule on recorded parts, mend it, and start the station again.",
	}
	NoRule = Warning{
		Code: "no_rule", Severity: Warn,
		Title: "the station has no rule, so every part gets no decision and is rejected",
		Do:    "Set rule in the configuration, for example threshold:defect>0.5.",
	}
	JournalFull = Warning{
		Code: "journal_full", Severity: Error,
		Title: "verdicts can't be recorded, there is no room on the disk",
		Do:    "Make room on the disk that holds the data directory. Parts get no decision and are rejected until then, unless the station allows unrecorded verdicts.",
	}
	JournalQuarantined = Warning{
		Code: "journal_quarantined", Severity: Error,
		Title: "the journal was damaged and has been set aside, a new one was begun",
		Do:    "Keep the file that was set aside: it holds older results. Check the disk, damage like this seldom comes alone.",
	}
	JournalSlow = Warning{
		Code: "journal_slow", Severity: Warn,
		Title: "verdicts aren't recorded by the station's deadline",
		Do:    "Check the disk. A longer deadline in the configuration gives it more time, if the line allows that.",
	}
	VerdictsUnrecordedAllowed = Warning{
		Code: "verdicts_unrecorded_allowed", Severity: Warn,
		Title: "the station tells verdicts even when they can't be recorded",
		Do:    "Set unrecorded: reject in the configuration when each verdict must be on disk before it is told.",
	}
	VerdictsLate = Warning{
		Code: "verdicts_late", Severity: Warn,
		Title: "verdicts come later than the station's deadline",
		Do:    "Use a smaller model, a lower rate, fewer stations on this device, or a longer deadline.",
	}
	JournalDropped = Warning{
		Code: "journal_dropped", Severity: Error,
		Title: "results were dropped for room before the fleet had them",
		Do:    "Bring the connection to the fleet back, or raise journal.limit_mb. The fleet is told which numbers are missing, and their verdicts' counts.",
	}
	FleetUnreachable = Warning{
		Code: "fleet_unreachable", Severity: Warn,
		Title: "the fleet can't be reached, results wait on this device",
		Do:    "Check the network between device and fleet. Inspection goes on; results are sent when the fleet is back.",
	}
	FleetRefuses = Warning{
		Code: "fleet_refuses", Severity: Error,
		Title: "the fleet refuses this device",
		Do:    "If the device was revoked on purpose, nothing. Else enrol it again with a new token: sightline-agent enroll. Results wait on this device.",
	}
	CertificateEnding = Warning{
		Code: "certificate_ending", Severity: Warn,
		Title: "the device's certificate couldn't be renewed",
		Do:    "Check that the device reaches the fleet's HTTPS address. Once the certificate has ended, results wait on this device until it is renewed.",
	}
	ClockImplausible = Warning{
		Code: "clock_implausible", Severity: Warn,
		Title: "the device's clock can't be right",
		Do:    "Set the clock, or let it be set over the network. Results keep their order, but their times can't be trusted.",
	}
	BrokerAway = Warning{
		Code: "broker_away", Severity: Error,
		Title: "the MQTT broker can't be reached, devices' results wait on the devices",
		Do:    "Check that the broker runs and that its address and certificates are right. Nothing is lost meanwhile.",
	}
	StoreFailing = Warning{
		Code: "store_failing", Severity: Error,
		Title: "results can't be stored, they wait on the devices",
		Do:    "Make room on the disk that holds the fleet's data directory; the log says what the database answered. Nothing is lost meanwhile.",
	}
	ClockBehind = Warning{
		Code: "clock_behind", Severity: Warn,
		Title: "the fleet's clock is behind a time that it has shown before",
		Do:    "Set the clock, or let it be set over the network. Until then certificates are judged by the newest time that was seen. If the clock is right and once stood ahead: sightline-fleet set-clock-back.",
	}
	UpdatesEnding = Warning{
		Code: "updates_ending", Severity: Warn,
		Title: "the signed metadata of updates ends soon, and devices then take no new bundle",
		Do:    "Sign it anew with the keys that are kept offline: sightline keys rotate for the root, sightline publish for the targets. What devices run goes on.",
	}
	UpdatesStale = Warning{
		Code: "updates_stale", Severity: Error,
		Title: "devices don't believe the targets that are published, and take no new bundle",
		Do:    "Sign the targets anew with the targets key that the newest root names: sightline publish. What devices run goes on.",
	}
	UpdatesFailing = Warning{
		Code: "updates_failing", Severity: Error,
		Title: "the fleet can't sign its part of the metadata of updates anew, and devices soon take no new bundle",
		Do:    "Make room on the disk that holds the fleet's data directory; the log says what went wrong. What devices run goes on.",
	}
	GPUUnused = Warning{
		Code: "gpu_unused", Severity: Warn,
		Title: "the device has a GPU, and models run on its processor",
		Do:    "Read why CUDA and TensorRT were passed over, and mend that. The ONNX Runtime that comes with Sightline is for processors: name one that was built for this GPU in infer.onnxruntime (on a Jetson NVIDIA's own, docs/gpu.md). If the processor is meant, set infer.provider: cpu.",
	}
	UnsignedModel = Warning{
		Code: "unsigned_model", Severity: Error,
		Title: "the station runs a file that nobody signed",
		Do:    "Publish the model as a signed bundle and name that as bundle in the configuration. allow_unsigned: true is for trials; what it lets in can't be told from what somebody slipped in.",
	}
	NoBundleYet = Warning{
		Code: "no_bundle_yet", Severity: Warn,
		Title: "the station follows a signed bundle that the device doesn't have yet",
		Do:    "Roll the bundle out to this device, or install it from a folder. Until then the station runs what model names, or inspects nothing.",
	}
	GoldenDiffers = Warning{
		Code: "golden_differs", Severity: Error,
		Title: "golden pictures come out otherwise than they were recorded",
		Do:    "The model doesn't answer as it was published: look for a changed runtime, driver or memory, and run sightline-agent gate. Its verdicts aren't to be trusted until then.",
	}
	BundleUnmeasured = Warning{
		Code: "bundle_unmeasured", Severity: Info,
		Title: "a bundle passed its golden pictures, but nobody measured how far answers may differ on what this device computes with",
		Do:    "Record its golden vectors on such a device, with sightline bundle golden and its --agent.",
	}
	UpdateRefused = Warning{
		Code: "update_refused", Severity: Warn,
		Title: "a new bundle was refused, what ran before goes on",
		Do:    "The station's page says why. It isn't tried again by itself: mend what it says: the bundle, under a new version, or the station's configuration, and install it again.",
	}
	UpdateRolledBack = Warning{
		Code: "update_rolled_back", Severity: Warn,
		Title: "a new bundle misbehaved once it was active, what ran before is back",
		Do:    "The station's page says why. It isn't tried again by itself: mend the bundle and publish it under a new version.",
	}
	UpdateWaiting = Warning{
		Code: "update_waiting", Severity: Info,
		Title: "a new bundle is ready and waits for an operator's OK",
		Do:    "Approve it on the station's page when it suits. Until then what runs now goes on.",
	}
	FramesDropped = Warning{
		Code: "frames_dropped", Severity: Info,
		Title: "some pictures aren't inspected, because newer ones came before their turn",
		Do:    "Nothing, as long as each part is seen often enough. Else use a smaller model or a lower rate.",
	}
	StationDegraded = Warning{
		Code: "station_degraded", Severity: Warn,
		Title: "a station is turned down, because the device can't inspect all that it should in time",
		Do:    "See why on the station's page. Give it a smaller model, fewer stations or a better accelerator; or make what matters less best_effort.",
	}
	StationOverloaded = Warning{
		Code: "station_overloaded", Severity: Error,
		Title: "every part of a station gets NO DECISION and is rejected: the device can't inspect it any more",
		Do:    "Take load off the device (stations, cameras' rates), or cool it. The station goes on by itself once there is room.",
	}
	LargeModelAway = Warning{
		Code: "large_model_away", Severity: Warn,
		Title: "the large model of a station can't look: its parts in doubt get the configured answer",
		Do:    "Read the reason. Its process is started again by itself, and a remote one is asked again after a while; a model that was given up, or has other labels than the bundle that serves, needs another one in the configuration.",
	}
	LargeModelGivesWay = Warning{
		Code: "large_model_gives_way", Severity: Warn,
		Title: "parts in doubt weren't looked at by the large model, and got the configured answer",
		Do:    "See the reasons. late, overload: give the station a longer deadline, fewer parts in doubt or a smaller large model; budget: raise budget_ms or narrow the band (docs/cascade.md).",
	}
	PartsUnsure = Warning{
		Code: "parts_unsure", Severity: Warn,
		Title: "something left the picture before enough pictures of it were inspected: it may have been a part, and got no verdict",
		Do:    "Set min_rate to what the belt needs (three pictures of each part at least), make the station more critical, or use a smaller model. A line that must not lose one needs a trigger.",
	}
	DoorShut = Warning{
		Code: "plc_door_shut", Severity: Error,
		Title: "the line's controller can't reach a station",
		Do:    "Read the reason: the address or interface must be there, and the port or the GPIO lines free. The door is tried again by itself.",
	}
	DoorSilent = Warning{
		Code: "plc_heartbeat_stopped", Severity: Error,
		Title: "the heartbeat to the line's controller has stopped: the belt should stand",
		Do:    "The agent doesn't get on: look for a disk or a processor that is overloaded, and send the log to us.",
	}
	TriggersMissed = Warning{
		Code: "plc_triggers_missed", Severity: Warn,
		Title: "the line's controller has triggered while no verdict could be promised; those parts were not inspected",
		Do:    "Let the controller wait for Trigger Ready, and reject what gets no result.",
	}
	NetworkOpen = Warning{
		Code: "network_open", Severity: Warn,
		Title: "the device's page and its REST interface can be reached from the network, and they know no login yet",
		Do:    "Set listen to 127.0.0.1:8080 and reach it through a tunnel, or keep this network closed.",
	}
)

// All is every declared warning, in the order of the documentation.
func All() []Warning {
	return []Warning{
		CameraSilent, CameraUnreachable, CameraPictureBroken, CameraPictureIncomplete, CameraRefuses,
		CameraFrozen, CameraDark, CameraOverexposed, CameraBlurred, CameraMoved, CameraFlicker, CameraReference,
		ModelWorkerRestarting, ModelLeaks, ModelMemory, RuleFailing, NoRule,
		JournalFull, JournalQuarantined, JournalSlow, JournalDropped, VerdictsUnrecordedAllowed, VerdictsLate,
		FleetUnreachable, FleetRefuses, CertificateEnding,
		GPUUnused, UnsignedModel, NoBundleYet, GoldenDiffers, BundleUnmeasured, UpdateRefused, UpdateRolledBack, UpdateWaiting,
		StationDegraded, StationOverloaded, LargeModelAway, LargeModelGivesWay, PartsUnsure, DoorShut, DoorSilent, TriggersMissed,
		ClockImplausible, FramesDropped, NetworkOpen,
		BrokerAway, StoreFailing, ClockBehind, UpdatesEnding, UpdatesStale, UpdatesFailing,
	}
}
