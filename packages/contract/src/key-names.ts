/** The keys of a keyboard by the names that QEMU gives them (QEMU: qapi/ui.json, QKeyCode). This file loads without zod. */
const rows = {
  functions: ['esc', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7', 'f8', 'f9', 'f10', 'f11', 'f12'],
  digits: ['grave_accent', '1', '2', '3', '4', '5', '6', '7', '8', '9', '0', 'minus', 'equal', 'backspace'],
  upper: ['tab', 'q', 'w', 'e', 'r', 't', 'y', 'u', 'i', 'o', 'p', 'bracket_left', 'bracket_right', 'ret'],
  home: ['caps_lock', 'a', 's', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'semicolon', 'apostrophe', 'backslash'],
  lower: ['shift', 'less', 'z', 'x', 'c', 'v', 'b', 'n', 'm', 'comma', 'dot', 'slash', 'shift_r'],
  space: ['ctrl', 'meta_l', 'alt', 'spc', 'alt_r', 'meta_r', 'menu', 'ctrl_r'],
  system: ['print', 'sysrq', 'scroll_lock', 'pause', 'num_lock'],
  edit: ['insert', 'delete', 'home', 'end', 'pgup', 'pgdn', 'up', 'down', 'left', 'right'],
  pad: ['kp_0', 'kp_1', 'kp_2', 'kp_3', 'kp_4', 'kp_5', 'kp_6', 'kp_7', 'kp_8', 'kp_9', 'kp_decimal'],
  padSigns: ['kp_enter', 'kp_add', 'kp_subtract', 'kp_multiply', 'kp_divide'],
} as const

/** A key. */
export type KeyName = (typeof rows)[keyof typeof rows][number]

/** All of them. */
export const keyNames: readonly KeyName[] = Object.values(rows).flat()
