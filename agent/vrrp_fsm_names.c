/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "agent/vrrp_fsm.h"

/* Arrays of characters, not of pointers: those would be written to by the loader. */

const char *vrrp_fsm_state_name(enum vrrp_state state)
{
	static const char names[VRRP_STATES][8] = {"INIT", "BACKUP", "MASTER", "LEAVING", "FAULT"};

	assert((unsigned)state < VRRP_STATES);
	return names[state];
}

const char *vrrp_fsm_cause_name(enum vrrp_cause cause)
{
	static const char names[VRRP_CAUSES][24] = {
		[VRRP_CAUSE_NONE] = "none",
		[VRRP_CAUSE_START] = "start",
		[VRRP_CAUSE_OWNER] = "owner",
		[VRRP_CAUSE_MASTER_DOWN] = "master-down",
		[VRRP_CAUSE_MASTER_LEFT] = "master-left",
		[VRRP_CAUSE_PREEMPT] = "preempt",
		[VRRP_CAUSE_SICK_HOLDER] = "sick-holder",
		[VRRP_CAUSE_RESUMED] = "resumed",
		[VRRP_CAUSE_HIGHER_PRIORITY] = "higher-priority",
		[VRRP_CAUSE_HIGHER_ADDRESS] = "higher-address",
		[VRRP_CAUSE_RESIGNED] = "resigned",
		[VRRP_CAUSE_MUTE] = "mute",
		[VRRP_CAUSE_AWAY] = "away",
		[VRRP_CAUSE_LINK_DOWN] = "link-down",
		[VRRP_CAUSE_LINK_UP] = "link-up",
		[VRRP_CAUSE_HOLD_FAILED] = "hold-failed",
		[VRRP_CAUSE_HOLD_RETRY] = "hold-retry",
		[VRRP_CAUSE_STOP] = "stop",
		[VRRP_CAUSE_HANDOVER] = "handover",
		[VRRP_CAUSE_MAINTENANCE] = "maintenance",
		[VRRP_CAUSE_ANNOUNCED] = "announced",
		[VRRP_CAUSE_SUCCESSOR] = "successor",
		[VRRP_CAUSE_GROUP] = "group",
		[VRRP_CAUSE_NO_SUCCESSOR] = "no-successor",
	};

	assert((unsigned)cause < VRRP_CAUSES);
	return names[cause];
}

const char *vrrp_fsm_alarm_name(enum vrrp_alarm alarm)
{
	static const char names[VRRP_ALARMS][20] = {
		[VRRP_ALARM_ADDRESS_LOST] = "address-lost",
		[VRRP_ALARM_PUT_BACK_LIMITED] = "put-back-limited",
		[VRRP_ALARM_SEND_FAILED] = "send-failed",
		[VRRP_ALARM_CONTENTION] = "contention",
		[VRRP_ALARM_RESIGNED] = "resigned",
		[VRRP_ALARM_DOUBT] = "doubt",
	};

	assert((unsigned)alarm < VRRP_ALARMS);
	return names[alarm];
}

const char *vrrp_fsm_alarm_text(enum vrrp_alarm alarm)
{
	static const char texts[VRRP_ALARMS][120] = {
		[VRRP_ALARM_ADDRESS_LOST] = "somebody removed a virtual address: put back",
		[VRRP_ALARM_PUT_BACK_LIMITED] =
			"virtual addresses are removed again and again: find "
			"who does it; put back every 12 s",
		[VRRP_ALARM_SEND_FAILED] = "adverts cannot be sent: the peers will take over",
		[VRRP_ALARM_CONTENTION] =
			"another master of lower rank is heard: adverts are lost, "
			"or filtered one way",
		[VRRP_ALARM_RESIGNED] =
			"sick: resigned, so that a peer of higher priority takes over",
		[VRRP_ALARM_DOUBT] = "woke up late: listens once more before it takes over",
	};

	assert((unsigned)alarm < VRRP_ALARMS);
	return texts[alarm];
}

const char *vrrp_fsm_event_name(enum vrrp_event_type type)
{
	static const char names[VRRP_EVENTS][16] = {
		[VRRP_EV_LINK] = "link",
		[VRRP_EV_HEALTH] = "health",
		[VRRP_EV_START] = "start",
		[VRRP_EV_RESUME] = "resume",
		[VRRP_EV_ADVERT] = "advert",
		[VRRP_EV_TIMER] = "timer",
		[VRRP_EV_STOP] = "stop",
		[VRRP_EV_HANDOVER] = "handover",
		[VRRP_EV_MAINTENANCE] = "maintenance",
		[VRRP_EV_AWAY] = "away",
		[VRRP_EV_ADDRESS_LOST] = "address-lost",
		[VRRP_EV_HOLD_FAILED] = "hold-failed",
		[VRRP_EV_SEND_FAILED] = "send-failed",
		[VRRP_EV_ANNOUNCED] = "announced",
		[VRRP_EV_CONF] = "conf",
		[VRRP_EV_GROUP_TAKE] = "group-take",
		[VRRP_EV_GROUP_YIELD] = "group-yield",
		[VRRP_EV_GROUP_LEFT] = "group-left",
	};

	assert((unsigned)type < VRRP_EVENTS);
	return names[type];
}

const char *vrrp_fsm_action_name(enum vrrp_action_type type)
{
	static const char names[VRRP_ACTION_TYPES][16] = {
		[VRRP_DO_SEND] = "send",
		[VRRP_DO_HOLD] = "hold",
		[VRRP_DO_RELEASE] = "release",
		[VRRP_DO_ANNOUNCE] = "announce",
		[VRRP_DO_WATCH] = "watch",
		[VRRP_DO_UNWATCH] = "unwatch",
		[VRRP_DO_TRANSITION] = "transition",
		[VRRP_DO_ALARM] = "alarm",
		[VRRP_DO_STOPPED] = "stopped",
	};

	assert((unsigned)type < VRRP_ACTION_TYPES);
	return names[type];
}
