/** Words for the classes of PCI devices, by the PCI Code and ID Assignment Specification. */

const subclasses: Readonly<Record<string, string>> = {
  '0100': 'SCSI controller',
  '0101': 'IDE controller',
  '0104': 'RAID controller',
  '0106': 'SATA controller',
  '0107': 'SAS controller',
  '0108': 'NVMe controller',
  '0200': 'Ethernet controller',
  '0207': 'InfiniBand controller',
  '0208': 'fabric controller',
  '0280': 'network controller',
  '0300': 'VGA controller',
  '0302': '3D controller',
  '0380': 'display controller',
  '0403': 'audio device',
  '0502': 'CXL memory',
  '0600': 'host bridge',
  '0601': 'ISA bridge',
  '0604': 'PCI bridge',
  '0700': 'serial controller',
  '0780': 'communication controller',
  '0806': 'IOMMU',
  '0880': 'system peripheral',
  '0c03': 'USB controller',
  '0c05': 'SMBus',
  '1000': 'encryption controller',
  '1200': 'processing accelerator',
}

const classes: Readonly<Record<string, string>> = {
  '01': 'storage controller',
  '02': 'network controller',
  '03': 'display controller',
  '04': 'multimedia device',
  '05': 'memory controller',
  '06': 'bridge',
  '07': 'communication controller',
  '08': 'system peripheral',
  '09': 'input device',
  '0b': 'processor',
  '0c': 'serial bus controller',
  '0d': 'wireless controller',
  '10': 'encryption controller',
  '11': 'signal processing controller',
  '12': 'processing accelerator',
  '13': 'instrumentation',
}

/** What a device of a class is called; the code is six hexadecimal digits. */
export function pciClassName(classCode: string): string {
  return subclasses[classCode.slice(0, 4)] ?? classes[classCode.slice(0, 2)] ?? 'other device'
}
