# A Modbus device by pymodbus, with registers given as TABLE:ADDRESS:WORD…
import sys
from pymodbus.datastore import ModbusServerContext, ModbusSlaveContext, ModbusSparseDataBlock
from pymodbus.server import StartTcpServer

tables = {"input": {}, "holding": {}}
for argument in sys.argv[2:]:
    table, address, *words = argument.split(":")
    for i, word in enumerate(words):
        tables[table][int(address) + i] = int(word, 16)
device = ModbusSlaveContext(hr=ModbusSparseDataBlock(tables["holding"]), ir=ModbusSparseDataBlock(tables["input"]), zero_mode=True)
StartTcpServer(context=ModbusServerContext(slaves={7: device}, single=False), address=("127.0.0.1", int(sys.argv[1])))
