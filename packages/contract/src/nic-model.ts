/** What a NIC is for its guest. */

/** virtio-net, or a card for guests without a driver for that. */
export const nicModels = ['virtio', 'e1000e', 'igb', 'e1000', 'rtl8139'] as const

/** Those that are conventional PCI, so that they sit on the root bus and nothing plugs them. */
export const conventionalNicModels = ['e1000', 'rtl8139'] as const satisfies readonly NicModel[]

export type NicModel = (typeof nicModels)[number]
